"""Walk the built site in a real browser: every page loads without a failed request or a console error, every picture shows,
every internal link and anchor resolves, and the search finds what a name belongs to.

usage: browse.py [FOLDER_FOR_SCREENSHOTS]     (without a folder: the test; with one: pictures of three pages)
"""
import functools, http.server, os, shutil, sys, threading
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

from playwright.sync_api import sync_playwright

root = Path(__file__).resolve().parent.parent
site = root/'_docs'

def browser_path(): return next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)

class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args): pass

def serve():
    "Serve the site on a free port of this machine only; gives the address"
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f'http://127.0.0.1:{server.server_port}/'

def launch(p):
    args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']
    return p.chromium.launch(executable_path=browser_path(), args=args)

class Walk:
    "Opens pages one after the other and collects what is wrong with them"
    def __init__(self, browser, base):
        self.page, self.base, self.faults, self.at = browser.new_page(), base, [], ''
        self.ids, self.links = {}, []
        self.page.on('console', lambda m: m.type in ('error', 'warning') and self.fault(f'console: {m.text}'))
        self.page.on('pageerror', lambda e: self.fault(f'script error: {e}'))
        self.page.on('requestfailed', lambda r: self.fault(f'request failed: {r.url}'))
        self.page.on('response', lambda r: r.status >= 400 and self.fault(f'{r.status}: {r.url}'))
        self.page.on('request', lambda r: r.url.startswith(('http:', 'https:')) and not r.url.startswith(base) and self.fault(f'asks another host: {r.url}'))

    def fault(self, what): self.faults.append(f'{self.at}: {what}')

    def open(self, name):
        self.at = name
        self.page.goto(self.base + name, wait_until='load')
        self.page.wait_for_function('() => !window.MathJax || !window.MathJax.startup || !document.querySelector(".math") || document.querySelector("mjx-container")', timeout=20_000)
        here = self.page.url
        broken = self.page.evaluate('''async () => { const out = [];
            for (const i of document.images) { i.loading = 'eager'; try { await i.decode() } catch (e) {} if (!i.naturalWidth) out.push(i.src.slice(0, 100)) }
            return out }''')
        for alt in self.page.evaluate('() => [...document.images].map(i => i.alt.trim()).filter(a => a.length < 4 || /^[_0-9a-f./]{20,}|[.](png|jpe?g|svg)$/.test(a))'):
            self.fault(f'a picture without a text in its place: {alt!r}')
        for src in broken: self.fault(f'picture does not show: {src}')
        if self.page.locator('mjx-merror').count(): self.fault('mathematics that does not parse')
        for text in self.page.evaluate('() => [...document.querySelectorAll("p")].map(p => p.innerText).filter(t => t.startsWith("| "))'):
            self.fault(f'a table shown as text: {text[:60]}')
        self.ids[name] = set(self.page.evaluate('() => [...document.querySelectorAll("[id]")].map(e => e.id)'))
        for href in self.page.evaluate('() => [...document.querySelectorAll("a[href]")].map(a => a.getAttribute("href"))'):
            url, anchor = urldefrag(urljoin(here, href))
            if url.startswith(self.base): self.links.append((name, unquote(url[len(self.base):]) or 'index.html', unquote(anchor)))

    def check_links(self):
        for name,target,anchor in self.links:
            self.at = name
            if not (site/target).is_file(): self.fault(f'link to {target}, which does not exist')
            elif anchor and target in self.ids and anchor not in self.ids[target]: self.fault(f'link to {target}#{anchor}, and there is no such place')

    def check_search(self, word, first):
        "Does the search for `word` find the page `first` before all others?"
        self.at = 'search'
        self.page.goto(f'{self.base}search.html?q={word}')
        try: self.page.wait_for_selector('#search-results li a', timeout=20_000)
        except Exception: return self.fault(f'the search does not find {word}')
        self.page.wait_for_load_state('networkidle')             # results come one by one, sorted, and fetch what they show
        found = self.page.locator('#search-results > ul > li > a').first.get_attribute('href')
        if not found.startswith(first): self.fault(f'the search for {word} finds {found} first, expected {first}')

def walk():
    "Visit every page; gives the number of pages, of links and the faults"
    base = serve()
    with sync_playwright() as p:
        browser = launch(p)
        w = Walk(browser, base)
        pages = sorted(str(f.relative_to(site)) for f in site.rglob('*.html') if '_static' not in f.parts)
        for name in pages: w.open(name)
        w.check_links()
        for word,first in ('Learner', '10_learner.html'), ('heun', 'api/samplers.html'), ('prompt_score', 'api/scenes.html'): w.check_search(word, first)
        browser.close()
    return len(pages), len(w.links), w.faults

def look_at(path):
    "Open a page from its file; gives what is wrong with it"
    path = Path(path)
    with sync_playwright() as p:
        browser = launch(p)
        w = Walk(browser, path.parent.as_uri()+'/')
        w.open(path.name)
        browser.close()
    return w.faults

class Play(Walk):
    "Plays with the page of `make demo`, at one width, and collects what is wrong with it"
    def __init__(self, browser, base, width):
        super().__init__(browser, base)
        self.at = f'{width} px'
        self.page.set_viewport_size(dict(width=width, height=900))
        self.page.goto(base)
        self.page.locator('#drawing canvas').wait_for()

    def fault(self, what):
        if '/queue/data' not in what: super().fault(what)        # Gradio's stream of events, which it closes itself

    def expect(self, ok, what):
        if not ok: self.fault(f'expected {what}; the page says {self.said()!r}')

    def said(self):    return self.page.locator('#said .message').inner_text()
    def picture(self): return self.page.locator('#picture img').get_attribute('src')

    def press(self, prompt=None, button='#go', end='Done'):
        "Type a prompt, press, wait; gives the pictures that were seen while one formed"
        if prompt is not None: self.page.locator('#prompt textarea').fill(prompt)
        self.page.evaluate("""() => { window.seen = []; window.watch ??= new MutationObserver(() => {
            const src = document.querySelector('#picture img')?.src; if (src && src != seen.at(-1)) seen.push(src) })
            watch.observe(document.querySelector('#picture'), {subtree: true, childList: true, attributes: true})
            document.querySelector('#said .message').textContent = '' }""")
        self.page.locator(button).click()
        self.page.locator(f'#said .message:has-text("{end}")').wait_for(timeout=180_000)
        return self.page.evaluate('() => seen')

    def draw(self):
        "A ground, and a stroke of the brush"
        self.page.locator('.ground').nth(3).click()
        self.page.locator('.colour').nth(2).click()
        canvas = self.page.locator('#drawing canvas')
        canvas.scroll_into_view_if_needed()
        x, y, w, h = (canvas.bounding_box()[k] for k in ('x', 'y', 'width', 'height'))
        self.page.mouse.move(x+.3*w, y+.3*h); self.page.mouse.down()
        self.page.mouse.move(x+.7*w, y+.4*h, steps=5); self.page.mouse.up()

    def all(self, steps=8):
        count = lambda what: self.page.locator(what).count()
        self.page.locator('#steps input[type=number]').fill(str(steps)); self.page.keyboard.press('Tab')
        seen  = self.press('a large yellow moon left of a purple boat at sunset')
        self.expect(len(seen) > 2, f'a picture that forms, not {len(seen)} of them')
        self.expect((count('.strip img'), count('#gallery img')) == (2*steps, 1), f'{2*steps} pictures of steps and one kept')
        self.expect('The oracle reads “' in self.page.locator('#reading').inner_text(), 'what the oracle reads')
        first = self.picture()
        for prompt,says in ('', 'The prompt is empty'), ('a cat at night', 'never seen “cat”'):
            self.press(prompt, end=says)
            self.expect(self.picture() == first, 'the picture to stay')
        self.press('a small red star above a blue house at night')
        second = self.picture()
        self.expect(second != first, 'another picture for another prompt')
        self.draw()
        self.press(end='from your drawing')
        self.expect(self.picture() not in (first, second), 'another picture from a drawing')
        self.page.locator('.clear').click()
        self.press()
        self.expect(self.picture() == second, 'the picture as before the drawing, which was cleared')
        self.press(button='#another', end='seed 1')
        self.expect(self.picture() != second and count('#gallery img') == 5, 'another picture for another seed, and five kept')
        wide = self.page.evaluate('() => document.documentElement.scrollWidth - innerWidth')
        self.expect(wide <= 0, f'a page that fits its window, not one {wide} px wider')
        text = self.page.locator('body').inner_text()
        self.expect(not any(o in text for o in ('Traceback', 'Error')), 'messages in words')
        return self.faults

def play(base, folder=None):
    "Play with the page of `make demo` at `base`, wide and as narrow as a phone; gives what is wrong"
    faults = []
    with sync_playwright() as p:
        browser = launch(p)
        for width in 1280, 390:
            game = Play(browser, base, width)
            faults += game.all()
            if folder: game.page.screenshot(path=f'{folder}/demo-{width}.png', full_page=True)
            game.page.close()
        browser.close()
    return faults

def screenshots(folder, pages=('index.html', '01_matmul.html', 'api/core.html')):
    "Pictures of some pages: light and dark, wide and as narrow as a phone"
    base = serve()
    Path(folder).mkdir(parents=True, exist_ok=True)
    with sync_playwright() as p:
        browser = launch(p)
        for scheme in 'light', 'dark':
            for kind,width in ('wide', 1280), ('phone', 390):
                page = browser.new_page(viewport={'width': width, 'height': 900}, color_scheme=scheme)
                for name in pages:
                    page.goto(base + name); page.wait_for_timeout(500)
                    page.screenshot(path=f'{folder}/{Path(name).stem}-{kind}-{scheme}.png')
        browser.close()

if __name__ == '__main__':
    if len(sys.argv) > 1: sys.exit(screenshots(*sys.argv[1:2], *([sys.argv[2:]] if sys.argv[2:] else [])))
    pages, links, faults = walk()
    print(*faults, f'{pages} pages, {links} links, {len(faults)} faults', sep='\n')
    sys.exit(bool(faults))
