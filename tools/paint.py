"""`make run`: paint nine pictures of a prompt, and leave them on a page that needs no network.

usage: paint.py [PROMPT] [--out FOLDER]
"""
import argparse, base64, html, io, sys, time
from pathlib import Path

root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root))
example = 'a small red star above a blue house at night'

style = '''
:root { color-scheme: light dark; --back: #fff; --text: #222; --soft: #666; --line: #ddd; --bad: #b3261e; --link: #0b57d0 }
@media (prefers-color-scheme: dark) { :root { --back: #16181c; --text: #e6e6e6; --soft: #a0a4ab; --line: #3a3d43; --bad: #ff8a80; --link: #8ab4f8 } }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 45rem; background: var(--back); color: var(--text); font: 1rem/1.5 system-ui, sans-serif }
h1 { font-size: 1.3rem; font-weight: 600 }
h2 { font-size: 1.05rem; margin-top: 2.2rem }
p, figcaption { color: var(--soft) } p.lead { color: var(--text) } a { color: var(--link) }
.grid { display: grid; grid-template-columns: repeat(3, 1fr); gap: 1rem }
figure { margin: 0 } figcaption { font-size: .8rem; line-height: 1.3; margin-top: .3rem } .bad { color: var(--bad) }
img { display: block; width: 100%; image-rendering: pixelated; border: 1px solid var(--line); border-radius: 4px }
.one { max-width: 14rem } .strip img { max-width: none }
pre { overflow-x: auto; border: 1px solid var(--line); border-radius: 4px; padding: .7rem }
@media (max-width: 30rem) { .grid { gap: .5rem } figcaption { font-size: .7rem } }
'''

def unknown_words(prompt):
    "Words of a prompt that the model has never seen, without repetition"
    from miniai.scenes import vocabulary
    words = ''.join(c if c.isalnum() else ' ' for c in prompt.lower()).split()
    return [w for w in dict.fromkeys(words) if w not in vocabulary]

def as_words(labels):
    "What an oracle reads off a picture (8,), as a caption, or answer by answer where it makes no scene"
    from miniai.scenes import Scene, Thing, answers, caption
    setting, layout, *rest = (options[i] for options,i in zip(answers.values(), labels.tolist()))
    things   = tuple(Thing(*rest[i:i+3]) for i in (0, 3) if 'nothing' not in rest[i:i+3])
    relation = {'one': None, 'side by side': 'left of', 'stacked': 'above'}.get(layout)
    try: return caption(Scene(setting, things, relation))
    except ValueError: return ', '.join([setting, layout, *rest])

def is_right(picture, prompt):
    "Is a picture (3,64,64) what the prompt asks for, by the oracle? None for a prompt that is no caption of the grammar"
    from miniai.scenes import prompt_score
    try: return bool(prompt_score(picture[None], [prompt])['all'])
    except ValueError: return None

def as_bytes(x):
    "Pictures (n,3,h,w) in [-1,1] as bytes (n,h,w,3)"
    return (x*127.5+127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()

def png(pixels):
    import PIL.Image
    buf = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buf, 'PNG')
    return buf.getvalue()

def img(data, alt): return f'<img src="data:image/png;base64,{base64.b64encode(data).decode()}" alt="{html.escape(alt)}">'

def paint(prompt, n=9, steps=25, guidance=2., seed=0):
    """Pictures (n,3,64,64) of a prompt by the distilled model, and what the model that it learned from predicts of a
    picture after each of its steps (steps,3,64,64)"""
    import torch
    from miniai.distill import fast_sampling, load_fast_sd
    from miniai.stable_diffusion import load_tiny_sd
    pictures = load_fast_sd().pictures([prompt]*n, generator=torch.Generator().manual_seed(seed), progress=False, **fast_sampling)
    sd = load_tiny_sd()
    states = sd(prompt, guidance=guidance, steps=steps, generator=torch.Generator().manual_seed(seed))
    return pictures.float().cpu(), sd.decode(torch.cat([s.x0 for s in states])).float().cpu()

def build_page(prompt, pictures, forming, seconds):
    "The page, as text"
    import numpy as np
    from miniai.core import animate
    from miniai.scenes import load_oracle, read
    found = read(load_oracle(), pictures)[0]
    marks   = [is_right(x, prompt) for x in pictures]
    figures = ''.join(f'<figure>{img(png(x), f"picture {i+1}: {as_words(y)}")}<figcaption{" class=bad" if ok is False else ""}>'
                      f'{as_words(y)}{" ✗" if ok is False else " ✓" if ok else ""}</figcaption></figure>'
                      for i,(x,y,ok) in enumerate(zip(as_bytes(pictures), found, marks)))
    frames  = as_bytes(forming)
    strip   = np.concatenate(frames[[0, 2, 4, 7, 11, 16, len(frames)-1]], 1)
    moving  = animate([*frames, *[frames[-1]]*8], ms=140).data
    verdict = (f'An independent network, the oracle, reads each picture; its words stand below. {sum(map(bool, marks))} of '
               f'{len(marks)} are what the prompt asks for.' if None not in marks else
               'An independent network, the oracle, reads each picture; its words stand below. The prompt is no caption of the '
               f'kind that training had ("{example}"), so nothing is counted.')
    site    = root/'_docs'/'index.html'
    further = (f'<a href="{site.as_uri()}">The rendered course</a> is on this machine.' if site.exists() else
               'Read the course as a site: <code>make docs</code>. Run and change it: <code>make lab</code>.')
    return f'''<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(prompt)}</title><style>{style}</style></head><body>
<h1>“{html.escape(prompt)}”</h1>
<p class="lead">Nine pictures by the small Stable Diffusion that this course builds, trains and distills to four steps, from nine
different noises; with this page, {seconds:.0f} seconds on this machine. {verdict}</p>
<div class="grid">{figures}</div>
<h2>How a picture comes about</h2>
<p>Sampling begins with noise. At each step the network predicts the finished picture. The model that the four steps were learned from
takes {len(frames)} of them; its prediction, from the noise of the first picture, is shown as it becomes clear.</p>
<div class="one">{img(moving, "animation: the prediction of a picture, from a blur to the picture")}</div>
<p>The same, at seven of the steps:</p><div class="strip">{img(png(strip), "seven steps from the first prediction to the picture")}</div>
<h2>Another prompt</h2>
<p>The model knows {{words}}.</p><pre>make run PROMPT="a large yellow moon left of a purple boat at sunset"</pre>
<p>{further}</p></body></html>'''.replace('{words}', html.escape(known_words()))

def known_words():
    "The words that the model knows, sorted by what they say"
    from miniai.scenes import colours, kinds, relations, settings, sizes
    groups = dict(things=kinds, colours=colours, sizes=sizes, places=relations, settings=settings.values())
    return '; '.join(f'{what}: {", ".join(words)}' for what,words in groups.items())

def main(prompt=example, out=root/'_run'):
    start, page = time.time(), Path(out)/'index.html'
    if not prompt.split(): sys.exit(f'an empty prompt; expected words such as "{example}"')
    if unknown := unknown_words(prompt):
        sys.exit(f'the model has never seen {", ".join(map(repr, unknown))}. It knows {known_words()}')
    print(f'painting "{prompt}" …', flush=True)
    pictures, forming = paint(prompt)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(build_page(prompt, pictures, forming, time.time()-start), encoding='utf-8')
    print(f'{time.time()-start:.0f} seconds; the page with the pictures: {page}')

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('prompt', nargs='?', default=example)
    parser.add_argument('--out', default=root/'_run', help='folder of the page')
    args = parser.parse_args()
    main(args.prompt, args.out)
