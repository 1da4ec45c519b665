"Sphinx configuration of the site. Order and parts come from `_quarto.yml`, version and names from `settings.ini`."
import importlib.util, json, re, shutil, sys
from configparser import ConfigParser
from pathlib import Path

root = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(root/'tools'))
from docs import FOLD, order

cfg = ConfigParser(delimiters=['='])
cfg.read(root/'settings.ini', encoding='utf-8')
cfg = cfg['DEFAULT']

project, author, release = cfg['title'], cfg['author'], cfg['version']
project_copyright = cfg['copyright']
extensions = ['myst_nb', 'sphinx.ext.mathjax', 'sphinx_copybutton']
exclude_patterns = ['.doctrees']

nb_execution_mode = 'off'
nb_merge_streams = True
nb_render_markdown_format = 'myst'          # tables and links in outputs, too
nb_ipywidgets_js = {}                       # no saved widgets, so nothing is fetched for them
myst_enable_extensions = ['dollarmath', 'amsmath']
myst_heading_anchors = 4

html_theme = 'furo'
html_title = f'{project} {release}'
html_static_path = [str(Path(__file__).parent/'static')]
html_css_files = ['miniai.css']
html_search_scorer = str(Path(__file__).parent/'static'/'scorer.js')
html_favicon = str(Path(__file__).parent/'static'/'favicon.svg')
html_theme_options = {'source_repository': cfg['git_url'], 'source_branch': cfg['branch'], 'source_directory': 'nbs/'} if cfg['git_url'] else {}
html_copy_source = html_show_sourcelink = False
mathjax_path = 'mathjax/tex-mml-chtml.js'   # beside the pages: mathematics without a network

def copy_mathjax(app, exception):
    "MathJax from the installed package, just the parts that the pages load"
    if exception: return
    origin = Path(importlib.util.find_spec('sphinx-mathjax-offline').origin).parent/'static'/'mathjax'
    target = Path(app.outdir)/'_static'/'mathjax'
    for part in 'tex-mml-chtml.js', 'input', 'output/chtml':
        if (origin/part).is_dir(): shutil.copytree(origin/part, target/part, dirs_exist_ok=True)
        else: target.mkdir(parents=True, exist_ok=True); shutil.copy(origin/part, target/part)

def entry(name):
    "A line of the toctree: the number of the notebook, its title, its name"
    stem = name.rsplit('.', 1)[0]
    number = stem.split('_')[0]
    if not number[0].isdigit(): return stem
    nb = json.loads((root/'_docs_src'/name).read_text(encoding='utf-8'))
    title = ''.join(nb['cells'][0]['source']).splitlines()[0].lstrip('# ')
    return f'{number} {title} <{stem}>'

def toctree():
    "The parts of the course as Markdown for the first page"
    blocks = []
    for title,names in order():
        names = [n for n in names if n != 'index.ipynb']
        if not names: continue
        caption = [f':caption: {title}'] if title else []
        blocks.append('\n'.join(['```{toctree}', ':hidden:', *caption, '', *map(entry, names), '```']))
    return '\n\n'.join(blocks)

def api_toctree():
    pages = sorted(p.stem for p in (root/'_docs_src'/'api').glob('*.md') if p.stem != 'index')
    return '\n'.join(['', '```{toctree}', ':hidden:', '', *pages, '```', ''])

def read(app, name, content):
    "What only Sphinx needs: the order of pages, and folded cells in its own way"
    if name == 'api/index': content[0] += api_toctree()
    if (Path(app.srcdir)/f'{name}.ipynb').exists():
        nb = json.loads(content[0])
        for c in nb['cells']:
            if alt := re.match(r'#\| fig-alt: (".*")\n', ''.join(c['source'])):
                c.update(source=''.join(c['source'])[alt.end():], metadata={'mystnb': {'image': {'alt': json.loads(alt[1])}}})
            for what in 'Solution', 'Code':
                fold, text = FOLD.format(what), ''.join(c['source'])
                if not text.startswith(fold): continue
                prompts = {'code_prompt_show': f'Show: {what.lower()}', 'code_prompt_hide': f'Hide: {what.lower()}'}
                c.update(source=text.removeprefix(fold), metadata={'tags': ['hide-input'], 'mystnb': prompts | c['metadata'].get('mystnb', {})})
        if name == 'index': nb['cells'].append({'cell_type': 'markdown', 'id': 'toctree', 'metadata': {}, 'source': toctree()})
        content[0] = json.dumps(nb)

def setup(app):
    app.connect('source-read', read)
    app.connect('build-finished', copy_mathjax)
