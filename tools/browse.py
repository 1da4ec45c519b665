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
