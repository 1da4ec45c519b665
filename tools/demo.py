"""`make demo`: a page to play with the course's Stable Diffusion, on this machine only.

usage: demo.py [--port PORT]     (without one: the first free port from 7860 on)

`sample` is the model's part, `build` says what stands where on the page, and `paint` leads from the one to the other.
"""
import argparse, base64, html, io, os, sys
from functools import lru_cache
from pathlib import Path

import numpy as np, PIL.Image, torch

root = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(root), str(root/'tools')]
os.environ |= dict(GRADIO_ANALYTICS_ENABLED='False', HF_HUB_OFFLINE='1')        # before Gradio reads them: nothing leaves the machine

from miniai.core import extra
from miniai.scenes import _background, answers, is_sure, load_oracle, palette, read, scene_x, settings, side
from miniai.stable_diffusion import load_tiny_sd, samplers
from paint import as_bytes, as_words, example, img, is_right, known_words, png, unknown_words
with extra('demo'): import gradio as gr

n_strip, n_kept = 8, 24                                                         # pictures in the strip, and in the gallery
model, oracle   = lru_cache(load_tiny_sd), lru_cache(load_oracle)               # loaded once, when they are first asked for

# --- The model

def check_words(prompt, negative):
    "Raise `ValueError` for an empty prompt, one that is too long, and words that the model has never seen"
    if not prompt.strip(): raise ValueError(f'The prompt is empty. Write something like “{example}”.')
    if unknown := unknown_words(f'{prompt} {negative}'):
        raise ValueError(f'The model has never seen {", ".join(f"“{w}”" for w in unknown)}. It knows {known_words()}.')
    room = model().tokenizer.length-2                                           # without the marks for start and end
    if (n := max(len(model().tokenizer.encode(text)) for text in (prompt, negative))) > room:
        raise ValueError(f'The prompt has {n} words, and the model reads {room} at most.')

def sample(prompt, negative='', guidance=2., steps=25, sampler='ddim', seed=0, start=None, strength=.8):
    "After each step: how many are taken and how many there will be, the noise level, pictures (2,3,64,64) of latents and prediction"
    kw     = {} if start is None else dict(image=start, strength=strength)
    noise  = torch.Generator().manual_seed(seed)
    states = model()(prompt, negative, guidance=guidance, steps=steps, sampler=sampler, generator=noise, **kw)
    total  = steps if start is None else min(int(steps*strength), steps)        # a start picture stands for the first steps
    for s in states:
        if not s.x.isfinite().all(): raise ValueError('The latents diverged. Try more steps, less guidance or another sampler.')
        latents = s.x/(1+s.sigma**2)**.5                                        # noise has been added to them: back to their scale
        yield s.i+1, total, s.sigma, model().decode(torch.cat([latents, s.x0])).float().cpu()

# --- From what the page sends, and to what it shows

def start_picture(drawing):
    "What the canvas sends, a PNG in a data URL, as a start picture (1,3,64,64) in [-1,1]; None if it is bare"
    if not drawing: return None
    drawn = PIL.Image.open(io.BytesIO(base64.b64decode(drawing.split(',')[1]))).convert('RGBA').resize((side, side))
    if not drawn.getchannel('A').getbbox(): return None
    on_white = PIL.Image.alpha_composite(PIL.Image.new('RGBA', drawn.size, 'white'), drawn).convert('RGB')
    return scene_x(torch.from_numpy(np.array(on_white)).permute(2, 0, 1)[None])

def message(text, kind=''): return f'<p class="message {kind}" role="status">{html.escape(text)}</p>'

def as_img(picture, alt): return img(png(as_bytes(picture[None])[0]), alt)      # (3,64,64) in [-1,1]

def show_strip(frames, total):
    "Latents and predictions at up to `n_strip` of `total` steps; `frames` are those taken: (step, noise level, pictures)"
    at = sorted({round(1+i*(total-1)/(n_strip-1)) for i in range(n_strip)})
    def row(title, cell):
        cells = (cell(*frames[n-1]) if n <= len(frames) else '' for n in at)
        return f'<tr><th>{title}</th>{"".join(f"<td>{c}</td>" for c in cells)}</tr>'
    rows = (row('', lambda n, sigma, _: f'step {n}<br>σ = {sigma:.2g}'),
            row('latents',    lambda n, _, p: as_img(p[0], f'the latents after step {n}')),
            row('prediction', lambda n, _, p: as_img(p[1], f'the prediction of step {n}')))
    return f'<div class="strip"><table>{"".join(rows)}</table></div>'

def show_reading(picture, prompt):
    "What the oracle, an independent network, reads off a picture, and its answers with their probabilities"
    labels, conf = read(oracle(), picture[None])
    ok   = is_right(picture, prompt)
    says = {True: '✓ as the prompt asks', False: '✗ not what the prompt asks', None: 'not compared: training had no prompt of this kind'}[ok]
    rows = ''.join(f'<tr><th>{what}</th><td>{words[i]}</td><td>{p:.2f}</td></tr>'
                   for (what,words),i,p in zip(answers.items(), labels[0].tolist(), conf[0].tolist()))
    return (f'<p>The oracle reads “{as_words(labels[0])}”{"" if is_sure(conf) else ", and is not sure"}</p>'
            f'<p class="{"bad" if ok is False else "message"}">{says}</p><table>{rows}</table>')

def show_gallery(kept): return f'<div class="gallery">{"".join(kept)}</div>'

def paint(prompt, negative, guidance, steps, sampler, seed, drawing, strength, kept):
    "What the button starts. Gives, again and again: message, picture, strip, reading, gallery and what is kept for it"
    same = gr.skip()                                                            # for an output that stays as it is
    def fault(e): return message(str(e), 'bad'), same, same, same, same, same
    frames = []
    try:
        check_words(prompt, negative)
        if seed is None or not 0 <= seed < 2**32: raise ValueError(f'The seed is a whole number from 0, below {2**32:,}.')
        start = start_picture(drawing)
        yield message('beginning …'), same, same, same, same, same
        for n,total,sigma,pictures in sample(prompt, negative, guidance, steps, sampler, seed, start, strength):
            frames.append((n, sigma, pictures))
            yield (message(f'step {n} of {total}, noise level σ = {sigma:.2g}'), as_img(pictures[1], f'the prediction of step {n}'),
                   show_strip(frames, total), '', same, same)
    except ValueError as e: return (yield fault(e))
    final = pictures[0]
    ok    = {True: ' ✓', False: ' ✗', None: ''}[is_right(final, prompt)]
    kept  = [f'<figure>{as_img(final, prompt)}<figcaption>{html.escape(prompt)}{ok}<br>seed {seed}</figcaption></figure>', *kept][:n_kept]
    done  = f'{total} step{"s"*(total > 1)} of {sampler}, guidance {guidance:g}, seed {seed}' + ('' if start is None else f', from your drawing, strength {strength:g}')
    yield message(f'Done: {done}'), as_img(final, prompt), same, show_reading(final, prompt), show_gallery(kept), kept

# --- The page

def canvas():
    "The canvas with its colours, grounds (the empty settings) and brush, as HTML"
    dots    = ''.join(f'<button class="colour" title="{name}" aria-label="{name}" style="background: rgb{rgb}"></button>' for name,rgb in palette.items())
    grounds = ''.join(f'<button class="ground" title="{says}">{img(png(np.array(_background(name).resize((side, side)))), says)}</button>'
                      for name,says in settings.items())
    return f"""<p>Start picture</p><div class="draw"><canvas width="{side}" height="{side}" aria-label="canvas for a start picture"></canvas>
        <div><label>Ground</label><div>{grounds}</div><label>Colour</label><div>{dots}</div>
        <label>Brush<input type="range" min="1" max="20" value="8"></label>
        <button class="painted">Draw on the picture</button><button class="clear">Clear</button></div></div>"""

drawing_js = """
const surface = element.querySelector('canvas'), pen = surface.getContext('2d'), brush = element.querySelector('input'), side = surface.width
const every = (what, f) => element.querySelectorAll(what).forEach(button => button.onclick = () => f(button))
let last = null
const send = () => props.value = surface.toDataURL()                            // where Python gets it from
const put  = picture => { if (picture) { pen.drawImage(picture, 0, 0, side, side); send() } }
const at   = e => { const box = surface.getBoundingClientRect(); return [(e.clientX-box.left)*side/box.width, (e.clientY-box.top)*side/box.height] }
const line = e => { pen.lineWidth = brush.value; pen.lineCap = 'round'; pen.beginPath(); pen.moveTo(...last); pen.lineTo(...(last = at(e))); pen.stroke() }
const choose = button => { every('.colour', choose); pen.strokeStyle = button.style.backgroundColor
    element.querySelectorAll('.colour').forEach(b => b.ariaPressed = b == button) }
choose(element.querySelector('.colour'))
every('.ground',  button => put(button.firstChild))
every('.painted', () => put(document.querySelector('#picture img')))
every('.clear',   () => { pen.clearRect(0, 0, side, side); send() })
surface.onpointerdown = e => { surface.setPointerCapture(e.pointerId); last = at(e); line(e) }
surface.onpointermove = e => { if (last) line(e) }
surface.onpointerup = surface.onpointercancel = () => { last = null; send() }
"""

css = """
.gradio-container { max-width: 62rem !important; margin: 0 auto !important }
#page { display: grid; grid-template: "ask result" auto "how result" 1fr / minmax(0, 3fr) minmax(0, 2fr); gap: 1rem 2rem }
#ask { grid-area: ask } #result { grid-area: result } #how { grid-area: how }
#start { padding: .6rem .8rem .8rem; border: 1px solid var(--border-color-primary); border-radius: 4px }
h1 { font-size: 1.4rem !important } h2 { font-size: 1.1rem !important } .html-container { padding: 0 !important }
.message, #start p, .draw, th, figcaption { color: var(--body-text-color-subdued); font-weight: 400; text-align: left }
.bad { color: #b3261e } .dark .bad { color: #ff8a80 }
#page img, .strip img, figure img, canvas { display: block; image-rendering: pixelated; border-radius: 4px }
#picture { aspect-ratio: 1; background: var(--background-fill-secondary) } #picture img { width: 100% }
#reading table { margin: .6rem 0 0; font-size: .9rem } #reading th, #reading td { padding: .1rem 1.2rem .1rem 0 !important }
.strip { overflow-x: auto; contain: inline-size } .strip table { margin: 0 }
.strip th, .strip td { padding: 0 .5rem .5rem 0 !important; font-size: .85rem } .strip td { min-width: 6.2rem } .strip img { width: 5.7rem; max-width: none }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); gap: 1rem }
figure { margin: 0; font-size: .8rem } figure img { width: 100% }
.draw { display: flex; flex-wrap: wrap; gap: 1rem; font-size: .9rem } .draw > div { flex: 1; min-width: 11rem } .draw label { display: block }
canvas { width: 13rem; aspect-ratio: 1; border: 1px solid var(--border-color-primary); background: #fff; touch-action: none; cursor: crosshair }
.draw button { margin: .2rem .3rem .5rem 0; border-radius: 4px } .draw input { display: block; width: 100%; margin-bottom: .5rem }
.colour { width: 1.6rem; height: 1.6rem } .colour[aria-pressed=true] { outline: 2px solid var(--body-text-color); outline-offset: 1px }
.ground img { width: 2.2rem; border: 1px solid var(--border-color-primary) }
.painted, .clear { padding: .1rem .8rem; color: var(--body-text-color); border: 1px solid var(--border-color-primary) }
@media (max-width: 640px) { #page { grid-template: "ask" auto "result" auto "how" auto / minmax(0, 1fr) } .main { padding: 1rem !important } }
"""

def build():
    "The page: what stands where, and what calls what"
    with gr.Blocks(title='Paint with miniai', analytics_enabled=False) as page:
        gr.Markdown('# Paint with the course’s Stable Diffusion\nThe small model of notebook 34b. What you write and draw stays on this machine.')
        kept = gr.State([])
        with gr.Row(elem_id='page'):
            with gr.Column(elem_id='ask'):
                prompt   = gr.Textbox(example, label='Prompt', lines=1, max_lines=3, elem_id='prompt')
                negative = gr.Textbox(label='Negative prompt', placeholder='what to lead away from', lines=1, max_lines=3, elem_id='negative')
                with gr.Row():
                    go      = gr.Button('Paint', variant='primary', min_width=100, elem_id='go')
                    another = gr.Button('Another seed', min_width=100, elem_id='another')
                said = gr.HTML(message(f'The model knows {known_words()}.'), elem_id='said')
            with gr.Column(elem_id='result'):
                picture = gr.HTML(elem_id='picture', apply_default_css=False)
                reading = gr.HTML(elem_id='reading', apply_default_css=False)
            with gr.Column(elem_id='how'):
                with gr.Row():
                    guidance = gr.Slider(0, 10, 2, step=.5, label='Guidance', elem_id='guidance')
                    steps    = gr.Slider(1, 100, 25, step=1, label='Steps', elem_id='steps')
                with gr.Row():
                    sampler  = gr.Dropdown(list(samplers), value='ddim', label='Sampler', elem_id='sampler')
                    seed     = gr.Number(0, precision=0, label='Seed', elem_id='seed')
                with gr.Column(elem_id='start'):
                    drawing  = gr.HTML(html_template=canvas(), js_on_load=drawing_js, apply_default_css=False, elem_id='drawing')
                    strength = gr.Slider(.05, 1, .8, step=.05, label='Strength', info='the fraction of the steps that are taken', elem_id='strength')
        gr.Markdown('## Step by step')
        strip   = gr.HTML(elem_id='strip', apply_default_css=False)
        gr.Markdown('## Gallery')
        gallery = gr.HTML(elem_id='gallery', apply_default_css=False)

        inputs   = [prompt, negative, guidance, steps, sampler, seed, drawing, strength, kept]
        outputs  = [said, picture, strip, reading, gallery, kept]
        painting = dict(fn=paint, inputs=inputs, outputs=outputs, show_progress='hidden', concurrency_limit=1, api_visibility='private')
        gr.on([go.click, prompt.submit, negative.submit], **painting)
        another.click(lambda seed: (seed or 0)+1, seed, seed, api_visibility='private').then(**painting)
    return page

def theme():
    "Quiet colours, the machine's own fonts"
    fonts = dict(font=['system-ui', 'sans-serif'], font_mono=['ui-monospace', 'monospace'])
    return gr.themes.Default(primary_hue='blue', neutral_hue='zinc', radius_size='sm', **fonts).set(
        body_text_color_subdued='#666', body_text_color_subdued_dark='#a0a4ab', block_info_text_color='#666', block_info_text_color_dark='#a0a4ab')

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--port', type=int, help='of this machine')
    page = build()
    page.launch(server_name='127.0.0.1', server_port=parser.parse_args().port, share=False, ssr_mode=False, run_history=False,
                footer_links=[], theme=theme(), css=css, quiet=True, prevent_thread_lock=True)
    print(f'the page, on this machine only: {page.local_url}   (Ctrl+C ends it)', flush=True)
    page.block_thread()
