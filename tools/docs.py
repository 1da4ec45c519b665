"""Build the site: write the prepared copy of the notebooks to `_docs_src/`, then render it to `_docs/` with Sphinx.

usage: docs.py [--source-only]

`_docs_src/` is what both renderers read (Sphinx here, Quarto in the published site): nbdev's directives are stripped, hidden cells dropped,
folded cells marked, an API reference written beside them. Nothing is executed.
"""
import importlib, inspect, json, re, shutil, subprocess, sys
from functools import partial
from pathlib import Path

import yaml

root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root))
src, out = root/'_docs_src', root/'_docs'
FOLD = '#| code-fold: true\n#| code-summary: {}\n'   # Quarto's way of folding a cell, under a line of text

def order():
    "Parts of the course from `_quarto.yml`: (title or None, [file names])"
    parts = []
    for item in yaml.safe_load((root/'_quarto.yml').read_text(encoding='utf-8'))['website']['sidebar']['contents']:
        if isinstance(item, str): parts.append((None, [item]))
        else: parts.append((item['section'], item['contents']))
    return parts

def prepare_cell(cell):
    "The cell as the site shows it, or None if it is hidden"
    text = ''.join(cell['source'])
    if cell['cell_type'] != 'code': return cell
    top = re.match(r'(\s*#.*\n?)*', text).group()               # a directive counts only above the first line of code
    if re.search(r'^#\|\s*(hide|default_exp)\b', top, re.M): return None
    alt  = ''.join(re.findall(r'^#\| fig-alt:.*\n', top, re.M)[:1])
    text = (re.sub(r'^#\|.*\n?', '', top, flags=re.M) + text[len(top):]).strip('\n')
    if not text: return None
    if cell['metadata'].get('jupyter', {}).get('source_hidden'): text = FOLD.format('Solution' if text.startswith('# one solution') else 'Code') + text
    return {**cell, 'source': alt + text, 'metadata': {}}

def has_picture(cell): return any(k.startswith('image/') for o in cell.get('outputs', []) for k in o.get('data', {}))

def plain(text):
    "Markdown as it is read out: without links, emphasis and the marks of code and mathematics"
    text = re.sub(r'\$\$.*?\$\$|\$[^$]*\\[^$]*\$', '…', text, flags=re.S)
    text = re.sub(r'!?\[([^]]*)\]\([^)]*\)', r'\1', text)
    return ' '.join(re.sub(r'[*`$\\]|^[#>|-]+ ?', '', text, flags=re.M).split())

def alt_text(cell, heading, prose):
    "What stands for the pictures of a cell where they can't be seen: its section, and the words on its axes or else the prose before it"
    source = ''.join(cell['source'])
    if given := re.search(r'^#\| fig-alt: *(.+)$', source, re.M): return given[1].strip('"')
    labels = re.findall(r"""(?:title|xlabel|ylabel|label)\s*[=(]\s*r?(['"])([^'"{}]+)\1""", source)
    words  = ', '.join(dict.fromkeys(plain(o) for _,o in labels)) or plain(prose)
    text   = f'{plain(heading)}: {words}' if words else plain(heading)
    return text if len(text) <= 240 else text[:240].rsplit(' ', 1)[0] + ' …'

def with_alt_texts(cells):
    "The cells, with Quarto's `fig-alt` in those that have pictures"
    heading = prose = ''
    for c in cells:
        text = ''.join(c['source'])
        if c['cell_type'] == 'markdown':
            heading = ([heading] + re.findall(r'^#+ (.+)$', text, re.M))[-1]
            prose   = re.split(r'\n\s*\n', text.strip())[-1]
        elif has_picture(c): c = {**c, 'source': f'#| fig-alt: {json.dumps(alt_text(c, heading, prose), ensure_ascii=False)}\n{text}'}
        yield c

def prepare_notebook(path):
    nb = json.loads(path.read_text(encoding='utf-8'))
    nb['cells'] = [c for c in map(prepare_cell, with_alt_texts(nb['cells'])) if c]
    (src/path.name).write_text(json.dumps(nb, indent=1, ensure_ascii=False), encoding='utf-8')

def written(x):
    "A value or a type as one would write it: functions and classes by their names, also inside of tuples and partials; arrays by their shape"
    if isinstance(x, partial): return f"partial({', '.join([written(o) for o in (x.func, *x.args)] + [f'{k}={written(v)}' for k,v in x.keywords.items()])})"
    if isinstance(getattr(x, 'shape', None), tuple): return f'<array {tuple(x.shape)}>'
    if type(x) is tuple:       return f"({', '.join(map(written, x))}{',' if len(x) == 1 else ''})"
    name = getattr(x, '__name__', None)
    return '...' if name == '<lambda>' else name or repr(x)

def code(x):
    "A value or a type as code in a table cell"
    text = x if isinstance(x, str) else written(x)
    return '`' + text.replace('|', '\\|') + '`'

def parameter_rows(sym):
    "Rows of the table of parameters: name, type, default, comment"
    from fastcore.docments import docments, empty
    for name,d in docments(sym, full=True, returns=True).items():
        if name in ('self', 'cls') or name not in ('return', *inspect.signature(sym).parameters) or name == 'return' and d.anno is empty and not d.docment: continue
        anno, default = ('' if o in (empty, type(None)) else code(o) for o in (d.anno, d.default))
        if d.default is None: default = code('None')
        if isinstance(d.default, str): default = code(repr(d.default))
        comment = (d.docment or '').replace('\n', ' ').replace('|', '\\|')
        yield f'| {"*returns*" if name == "return" else code(name)} | {anno} | {default} | {comment} |'

class Written(str):
    "A default as it shall stand in a signature"
    def __repr__(self): return str(self)

def parameter(q):
    "As it stands in a signature: without type, and functions and classes by their names"
    if q.default is not q.empty: q = q.replace(default=Written(written(q.default)))
    return q.replace(annotation=q.empty)

def doc(sym, level):
    "Markdown for one function or class: signature, docstring and the table of parameter comments"
    try: params, rows = [parameter(q) for n,q in inspect.signature(sym).parameters.items() if n != 'self'], list(parameter_rows(sym))
    except ValueError: params, rows = [], []      # an exception, whose arguments are Python's affair
    text = [f'{"#"*level} {sym.__name__}', '', '```python', f'{sym.__name__}{inspect.Signature(params)}', '```', '', inspect.cleandoc(sym.__doc__ or ''), '']
    if rows: text += ['| parameter | type | default | |', '|---|---|---|---|', *rows]
    return '\n'.join(text)

def slug(heading): return re.sub(r'[^a-z0-9]+', '-', heading.lower()).strip('-')

def sections(path):
    "Where a notebook defines what it exports: name (or `Class.name`) -> heading of the section"
    heading, res = '', {}
    for c in json.loads(path.read_text(encoding='utf-8'))['cells']:
        text = ''.join(c['source'])
        if c['cell_type'] == 'markdown': heading = ([heading] + re.findall(r'^#+ +(.+?) *$', text, re.M))[-1]
        elif re.match(r'(#.*\n)*#\| *export', text):
            for name,of in re.findall(r'^(?:def|class) (\w+)(?:\(\w+:(\w+),?)?', text, re.M):
                res.setdefault(name, heading)
                if of: res.setdefault(f'{of}.{name}', heading)
    return res

def module_page(mod, nb):
    "API page of one module, made by the notebook `nb`: what it exports, and the public methods of its classes"
    where = sections(root/'nbs'/nb)
    def link(name): return [f'Explained in [{where[name]}](../{nb}#{slug(where[name])}).', ''] if where.get(name) else []
    names = [n for n,o in vars(mod).items() if not n.startswith('_') and callable(o) and getattr(o, '__module__', None) == mod.__name__]
    def is_value(o): return o is not None and not (callable(o) and str(getattr(o, '__module__', '')).startswith('miniai.'))  # a patched method leaves None
    values = [n for n in mod.__all__ if is_value(getattr(mod, n))]
    lines = [f'# {mod.__name__}', '']
    if values: lines += ['Values: ' + ', '.join(f'`{n}`' for n in values) + '.', '']
    for n in names:
        sym = getattr(mod, n)
        lines += [doc(sym, 2), '', *link(n)]
        if not inspect.isclass(sym): continue
        methods = [(k,m) for k,m in vars(sym).items() if not k.startswith('_') and callable(getattr(sym, k)) and inspect.getdoc(getattr(sym, k))]
        for k,_ in methods: lines += [doc(getattr(sym, k), 3), '', *link(f'{n}.{k}')]
    return '\n'.join(lines)

def write_api(folder):
    "One page a module, and the page that lists them with the notebook that each comes from"
    folder.mkdir()
    rows = []
    for path in sorted((root/'miniai').glob('[!_]*.py')):
        mod = importlib.import_module(f'miniai.{path.stem}')
        nb = re.search(r'File to edit: .*?/([\w.]+\.ipynb)', path.read_text(encoding='utf-8')).group(1)
        (folder/f'{path.stem}.md').write_text(module_page(mod, Path(nb).name), encoding='utf-8')
        rows.append((nb, path.stem, len(mod.__all__)))
    lines = ['# API reference', '', 'Each module is exported by one notebook, which explains and tests everything in it.', '', '| module | names | made by |', '|---|---|---|']
    lines += [f'| [miniai.{m}]({m}.md) | {n} | [{Path(nb).stem}](../{nb}) |' for nb,m,n in sorted(rows)]
    (folder/'index.md').write_text('\n'.join(lines) + '\n', encoding='utf-8')

def prepare():
    "Write `_docs_src/`"
    if src.exists(): shutil.rmtree(src)
    src.mkdir()
    listed = {n for _,names in order() for n in names if n.endswith('.ipynb')}
    there = {p.name for p in (root/'nbs').glob('*.ipynb')}
    if listed != there: sys.exit(f'_quarto.yml and nbs/ disagree about: {sorted(listed ^ there)}')
    for name in sorted(there): prepare_notebook(root/'nbs'/name)
    shutil.copytree(root/'nbs'/'images', src/'images')
    shutil.copy(root/'_quarto.yml', src)
    shutil.copy(root/'tools'/'quarto'/'dark.scss', src)
    write_api(src/'api')

def build():
    "Render `_docs_src/` to `_docs/`; a warning is an error"
    if out.exists(): shutil.rmtree(out)
    cmd = [sys.executable, '-m', 'sphinx', '-W', '--keep-going', '-q', '-c', str(root/'tools'/'sphinx'), '-d', str(src/'.doctrees'), str(src), str(out)]
    code = subprocess.run(cmd).returncode
    shutil.rmtree(root/'jupyter_execute', ignore_errors=True)   # copies that MyST-NB leaves beside its output
    return code

if __name__ == '__main__':
    prepare()
    if '--source-only' in sys.argv: sys.exit()
    if code := build(): sys.exit(code)
    print(f'the site: {out/"index.html"}')
