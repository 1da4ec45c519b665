"""Everything that has to hold before a change lands. Prints a line for each check and closes with how many passed and failed."""
import ast, base64, contextlib, hashlib, json, os, re, shutil, socket, subprocess, sys, tempfile, time, urllib.request, warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

root = Path(__file__).resolve().parent.parent
nbs, bin = root/'nbs', Path(sys.executable).parent
sys.path.insert(0, str(root/'tools'))

class Failed(Exception): pass

def sh(*cmd, cwd=root, **env):
    "Run a command; gives what it printed, raises `Failed` with it if it went wrong"
    env = {**os.environ, 'MINIAI_FULL': '0', 'MINIAI_SAVE': '0', **env}
    r = subprocess.run(cmd, cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if r.returncode: raise Failed(r.stdout.strip())
    return r.stdout

def tracked():
    "Files of the project: in git or new, not ignored"
    names = sh('git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard').split('\0')
    return [n for n in names if n and (root/n).is_file()]

def snapshot(): return {n: hashlib.sha256((root/n).read_bytes()).hexdigest() for n in tracked()}

def changes(before, after): return sorted(n for n in before.keys() | after.keys() if before.get(n) != after.get(n))

def copy_project(folder):
    "The project's files in another folder, where tools may do to them what they like"
    for n in tracked():
        (Path(folder)/n).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root/n, Path(folder)/n)
    return Path(folder)

def differing(folder, *names):
    "Which files under `names` differ between the project and its copy"
    def files(base): return {str(p.relative_to(base)): p.read_bytes() for n in names for p in (base/n).rglob('*') if p.is_file() and '__pycache__' not in p.parts and p.name != '.last_checked'}
    return changes(files(root), files(folder))

def export_in_sync(tmp):
    copy = copy_project(tmp)
    sh(str(bin/'nbdev_export'), cwd=copy, PYTHONPATH=str(copy))
    if bad := differing(copy, 'miniai', 'nbs'): raise Failed(f'exporting changes {", ".join(bad)}: run nbdev_export')
    return 'exporting again changes nothing'

def notebooks_clean(tmp):
    copy = copy_project(tmp)
    sh(str(bin/'nbdev_clean'), cwd=copy, PYTHONPATH=str(copy))
    if bad := differing(copy, 'nbs'): raise Failed(f'not clean: {", ".join(bad)}: run nbdev_clean')
    for p in nbs.glob('*.ipynb'):
        cells = json.loads(p.read_text(encoding='utf-8'))['cells']
        for c in cells:
            if any(o.get('output_type') == 'error' for o in c.get('outputs', [])): raise Failed(f'{p.name} keeps an error in its outputs')
        still = [c['id'] for c in cells if 'animate(' in ''.join(c['source'][-1:]) and is_still(c)]
        if still: raise Failed(f'{p.name}: the animations of the cells {", ".join(still)} have a single frame')
    return 'cleaning again changes nothing, and what is animated moves'

def is_still(cell):
    "Has a cell that animates saved a PNG without the chunk that announces frames?"
    return any(b'acTL' not in base64.b64decode(o['data']['image/png']) for o in cell['outputs'] if 'image/png' in o.get('data', {}))

def run_notebook(path, copy):
    "In a process of its own: run a notebook as `nbdev_test` does, and write it with the outputs of this run to `copy`; ends the process"
    import torch, nbdev.test
    from execnb.nbio import write_nb
    from nbdev.config import get_config
    class Shell(nbdev.test.CaptureShell):
        def run_all(self, nb, *args, **kwargs):
            for c in nb.cells: c.pop('outputs', None)
            try: super().run_all(nb, *args, **kwargs)
            finally: write_nb(nb, copy)
    nbdev.test.CaptureShell = Shell
    skip = set(get_config().tst_flags.split()) - ({'cuda'} if torch.cuda.is_available() else set())
    ok, _ = nbdev.test.test_nb(Path(path), skip_flags=skip, basepath=root)
    sys.exit(not ok)

def shown(cell):
    "What a cell has put out: 'text', 'pictures', or both; warnings and progress bars on the error stream don't count"
    kinds = set()
    for o in cell.get('outputs') or []:
        if o['output_type'] == 'stream': kinds |= {'text'} if o['name'] == 'stdout' else set()
        else: kinds |= {'pictures' if any(k.startswith('image/') for k in o.get('data', {})) else 'text'}
    return kinds

def lost_outputs(saved, ran):
    "Cells of a notebook that printed or drew when it `ran`, and have nothing of the kind `saved`"
    cells = {c['id']: c for c in json.loads(Path(saved).read_text(encoding='utf-8'))['cells']}
    lost  = [(c, shown(c) - shown(cells[c['id']])) for c in json.loads(Path(ran).read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'code']
    return [f"cell {c['id']} puts out {' and '.join(sorted(kinds))} and has none saved: {''.join(c['source']).strip().splitlines()[-1]:.80}"
            for c,kinds in lost if kinds]

def test_notebook(path, copy):
    "Run the notebook at `path` in a process of its own, at quick scale and on one thread: seconds, and what is wrong with it"
    start = time.time()
    code  = f'import sys; sys.path.insert(0, {str(root/"tools")!r}); import test; test.run_notebook({str(path)!r}, {str(copy)!r})'
    try: sh(sys.executable, '-c', code, OMP_NUM_THREADS='1', MKL_NUM_THREADS='1')
    except Failed as e: return time.time()-start, str(e)
    return time.time()-start, '\n'.join(lost_outputs(path, copy))

def notebook_tests():
    "All notebooks at quick scale, as many at once as there are cores: rows of (name, seconds, what is wrong with it)"
    paths = sorted(nbs.glob('*.ipynb'))
    with tempfile.TemporaryDirectory() as tmp, ThreadPoolExecutor(os.cpu_count()) as pool:
        res = pool.map(lambda p: test_notebook(p, Path(tmp)/p.name), paths)
        return [(p.name, *r) for p,r in zip(paths, res)]

def outputs_compared(tmp):
    "The comparison above, on a notebook of two cells: complete, and with an output removed from each in turn"
    print_cell, draw_cell = "print('seen')", "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"
    said, drawn = {'output_type': 'stream', 'name': 'stdout', 'text': ['seen']}, {'output_type': 'display_data', 'data': {'image/png': ''}, 'metadata': {}}
    def cell(id, source, *outputs): return {'cell_type': 'code', 'id': id, 'source': [source], 'metadata': {}, 'execution_count': None, 'outputs': [*outputs]}
    def faults(*cells):
        path, copy = Path(tmp)/'some.ipynb', Path(tmp)/'ran.ipynb'
        path.write_text(json.dumps({'cells': [*cells], 'metadata': {}, 'nbformat': 4, 'nbformat_minor': 5}), encoding='utf-8')
        return test_notebook(path, copy)[1]
    for first,second,expected in ([said], [drawn], ''), ([], [drawn], 'cell a puts out text'), ([said], [], 'cell b puts out pictures'), ([said], [said], 'cell b puts out pictures'):
        got = faults(cell('a', print_cell, *first), cell('b', draw_cell, *second), cell('c', 'x = 1'))
        if bool(got) != bool(expected) or not got.startswith(expected): raise Failed(f'expected {expected or "no fault"!r}, got {got!r}')
    if 'ZeroDivisionError' not in faults(cell('a', '1/0')): raise Failed('a notebook that fails was not noticed')
    return 'an output removed from a notebook is noticed, and so is an error'

def wheel_installs(tmp):
    copy = copy_project(Path(tmp)/'source')
    sh(sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation', '-w', tmp, str(copy), cwd=tmp)
    wheel = next(Path(tmp).glob('*.whl'))
    away = Path(tmp)/'installed'
    sh(sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--target', str(away), str(wheel), cwd=tmp)
    mods = sorted(f'miniai.{p.stem}' for p in (root/'miniai').glob('[!_]*.py'))
    code = f'''import importlib, miniai
        assert miniai.__file__.startswith({str(away)!r}), miniai.__file__
        for m in {mods}: importlib.import_module(m)
        from miniai.data import fashion_mnist
        x, y, xv, yv = fashion_mnist()
        assert (len(x), len(xv)) == (10_000, 2_000)'''
    sh(sys.executable, '-c', re.sub(r'^        ', '', code, flags=re.M), cwd=tmp, PYTHONPATH=str(away))
    if not any('LICENSE' in p.name for p in (away/'miniai'/'assets').iterdir()): raise Failed('the licence of the embedded data is not in the wheel')
    return f'{wheel.name}, {wheel.stat().st_size/2**20:.1f} MiB: installed elsewhere, imports and finds its data'

def works_without_extras():
    "Where only the core's packages can be imported, all modules are, the model paints, and what needs an extra says which"
    import configparser
    config = configparser.ConfigParser(delimiters=['='])
    config.read(root/'settings.ini', encoding='utf-8')
    names  = {n for k,v in config['DEFAULT'].items() if k.startswith('extra_') or k == 'dev_requirements' for n in v.split()}
    blocked = sorted({n.replace('-', '_') for n in names} - {'setuptools'} | {'sklearn', 'scipy', 'pandas', 'IPython'})
    code = f'''import importlib, sys
        sys.modules.update(dict.fromkeys({blocked!r}))         # an import of these is refused
        for m in {sorted(f'miniai.{p.stem}' for p in (root/'miniai').glob('[!_]*.py'))!r}: importlib.import_module(m)
        import torch
        from miniai.accel import AccelerateCB
        from miniai.data import digits, fashion_mnist
        from miniai.datasets import load_fashion_mnist
        from miniai.ddpm import UNet
        from miniai.stable_diffusion import StableDiffusion, load_tiny_sd
        from miniai.tracking import read_run
        assert len(fashion_mnist()[0]) == 10_000
        assert load_tiny_sd().pictures('a red star at night', steps=2, progress=False).shape == (1, 3, 64, 64)
        for f,extra in ((digits, 'data'), (load_fashion_mnist, 'data'), (UNet, 'diffusion'), (AccelerateCB, 'accelerate'),
                        (lambda: StableDiffusion.from_hub('a/b'), 'diffusion'), (lambda: read_run('.'), 'track')):
            try: f()
            except ModuleNotFoundError as e: assert f'pip install "miniai[{{extra}}]"' in str(e), e
            else: raise AssertionError(f'{{f}} works without {{extra}}')'''
    sh(sys.executable, '-c', re.sub(r'^        ', '', code, flags=re.M), OMP_NUM_THREADS='1')
    return f'all modules import without {len(blocked)} packages, and what needs one says how to install it'

def calls(tree): return {ast.unparse(n.func): n for n in ast.walk(tree) if isinstance(n, ast.Call)}

def exercise_cells(path):
    "Code cells below the heading 'Exercises': (source without magics, is it folded?)"
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    start = next((i for i,c in enumerate(cells) if c['cell_type'] == 'markdown' and re.search(r'^## Exercises$', ''.join(c['source']), re.M)), len(cells))
    return [(re.sub(r'^\s*[%!].*$', '', ''.join(c['source']), flags=re.M), c['metadata'].get('jupyter', {}).get('source_hidden', False))
            for c in cells[start:] if c['cell_type'] == 'code']

def is_exercise(node): return isinstance(node, ast.FunctionDef) and any(ast.unparse(d) == 'exercise' for d in node.decorator_list)

def n_answers(call, tree):
    "How many wrong answers a call of `refuses` is given, those of a list `*wrong` that the cell writes out among them"
    lists = {ast.unparse(n.targets[0]): len(n.value.elts) for n in ast.walk(tree) if isinstance(n, ast.Assign) and isinstance(n.value, ast.List)}
    return sum(lists.get(ast.unparse(a.value), 0) if isinstance(a, ast.Starred) else 1 for a in call.args)

def exercises_complete():
    "Each check of an exercise is put to the stub, to a folded solution and, by `refuses`, to wrong answers; running the notebooks runs them"
    n = 0
    for p in sorted(nbs.glob('[0-9]*.ipynb')):
        cells = exercise_cells(p)
        checks = [f.name for s,_ in cells for f in ast.parse(s).body if is_exercise(f)]
        if not checks: raise Failed(f'{p.name} has no exercises')
        for check in checks:
            answer = check.removeprefix('check_')
            stub    = any(re.search(rf'^def {answer}\(.*\): \.\.\.$', s, re.M) for s,_ in cells)
            solved  = any(folded and f'{check}({answer}_solution)' in s for s,folded in cells)
            refuses = any(name == f'{check}.refuses' and n_answers(call, tree) >= 2
                          for s,_ in cells for tree in [ast.parse(s)] for name,call in calls(tree).items())
            for ok,what in (stub, 'an untouched stub'), (solved, 'a folded solution that is put to the check'), (refuses, 'two or more wrong answers'):
                if not ok: raise Failed(f'{p.name}: the exercise {answer} lacks {what}')
            n += 1
    return f'{n} exercises, each with a stub, a folded solution and wrong answers that its check refuses'

def site_builds():
    sh(sys.executable, str(root/'tools'/'docs.py'))
    pages = list((root/'_docs').rglob('*.html'))
    return f'{len(pages)} pages without a warning'

def api_complete():
    "Each public name of each module has its place in the API reference"
    import importlib
    pages = {p.stem: p.read_text(encoding='utf-8') for p in (root/'_docs_src'/'api').glob('*.md') if p.stem != 'index'}
    def names(text): return {*re.findall(r'^#+ (\w+)$', text, re.M), *re.findall(r'`(\w+)`', ''.join(re.findall(r'^Values: .*$', text, re.M)))}
    anywhere, lacking, n = names('\n'.join(pages.values())), [], 0
    for stem,text in pages.items():
        mod = importlib.import_module(f'miniai.{stem}')
        for name in mod.__all__:
            value, n = getattr(mod, name), n+1
            patched  = value is None or getattr(value, '__module__', mod.__name__) != mod.__name__     # stands with its class, or at home
            if name not in (anywhere if patched else names(text)): lacking.append(f'{mod.__name__}.{name}')
    if lacking: raise Failed(f'not in the API reference: {", ".join(lacking)}')
    return f'{n} public names'

def site_in_browser():
    from browse import browser_path, walk
    if not browser_path():
        if os.environ.get('CI'): raise Failed('no browser found: CI installs chromium (.ci/run)')
        return None
    pages, links, faults = walk()
    if faults: raise Failed('\n'.join(faults))
    return f'{pages} pages, {links} links, every picture shows and has a text, the search finds names where they belong'

def copies_kept(tmp):
    "`make lab` makes copies, renews those that nobody has changed, and never touches the others"
    from lab import prepare
    nbs, work = Path(tmp)/'nbs', Path(tmp)/'_work'
    nbs.mkdir()
    def write(where, **texts):
        for name,text in texts.items(): (where/f'{name}.ipynb').write_text(text)
    def is_now(update=False, **expected):
        got = {how: names for how,names in prepare(Path(tmp), update).items() if names}
        if got != expected: raise Failed(f'expected {expected}, got {got}')
    write(nbs, a='a1', b='b1')
    is_now(made=['a', 'b']); is_now()
    write(work, a='mine')
    is_now()
    write(nbs, a='a2', b='b2')
    is_now(renewed=['b'], waiting=['a']); is_now(waiting=['a'])
    is_now(update=True, beside=['a']); is_now()
    texts = {p.stem: p.read_text() for p in work.glob('*.ipynb')}
    if texts != {'a': 'mine', 'a (new)': 'a2', 'b': 'b2'}: raise Failed(f'the copies are {texts}')
    return 'copies are made, renewed where nobody has changed them, and kept where somebody has'

def saving_changes_nothing(tmp):
    "With `make edit`, each notebook is saved as it was, whatever a front end adds to it"
    from jupyter_server.services.contents.filemanager import FileContentsManager
    from traitlets.config import Config
    c, copy = Config(), copy_project(tmp)
    exec((root/'tools'/'jupyter_edit.py').read_text(encoding='utf-8'), {'c': c})
    with warnings.catch_warnings(action='ignore'): manager, changed = FileContentsManager(root_dir=str(copy), config=c), []
    for p in sorted((copy/'nbs').glob('*.ipynb')):
        before, name = p.read_bytes(), str(p.relative_to(copy))
        model = manager.get(name, type='notebook', content=True)
        model['content']['metadata']['language_info'] = {'name': 'python', 'version': '3.11.0'}
        for cell in model['content']['cells']:
            cell['metadata']['trusted'] = True
            if cell['cell_type'] == 'code': cell['execution_count'] = 7
        with contextlib.chdir(copy): manager.save(model, name)     # the hook leaves a mark beside the notebook
        if p.read_bytes() != before: changed.append(name)
    if changed: raise Failed(f'saving changes {", ".join(changed)}')
    return 'opened and saved, every notebook is as it was'

def paints(tmp):
    "The page of `make run` has its pictures and asks nobody for anything; words that the model doesn't know are named"
    tool, page = [sys.executable, str(root/'tools'/'paint.py')], Path(tmp)/'index.html'
    for prompt,says in ('a cat at night', "never seen 'cat'. It knows things: circle"), ('  ', 'an empty prompt'):
        try: sh(*tool, prompt, '--out', tmp)
        except Failed as e: said = str(e)
        else: raise Failed(f'the prompt {prompt!r} was painted')
        if says not in said: raise Failed(f'the prompt {prompt!r}: expected {says!r} in what is said, got {said!r}')
    said = sh(*tool, '--out', tmp)
    text = page.read_text(encoding='utf-8')
    if str(page) not in said: raise Failed(f'expected the path of the page, got {said!r}')
    if text.count('<figure><img') != 9 or text.count('<img') != text.count(' alt="') or 'http' in text:
        raise Failed('expected nine pictures and an animation, each with a text in its place, and no address')
    from browse import browser_path, look_at
    if browser_path() and (faults := look_at(page)): raise Failed('\n'.join(faults))
    return said.strip().splitlines()[-1].split(';')[0]

def answers_at(url, server, seconds=300):
    "Wait until a server answers; False if it ends, or takes longer"
    for _ in range(2*seconds):
        try: return bool(urllib.request.urlopen(url, timeout=5).read())
        except OSError:
            if server.poll() is not None: return False
            time.sleep(.5)
    return False

def plays(tmp):
    "The page of `make demo`, played with in a browser; neither the page nor its server asks or lets in another machine"
    from browse import browser_path, play
    if not browser_path():
        if os.environ.get('CI'): raise Failed('no browser found: CI installs chromium (.ci/run)')
        return None
    with socket.socket() as s: s.bind(('127.0.0.1', 0)); port = s.getsockname()[1]
    code = f'''import runpy, sys
        def watch(event, args):
            if event not in ('socket.connect', 'socket.bind', 'socket.getaddrinfo'): return
            host = args[0] if event == 'socket.getaddrinfo' else args[1][0] if isinstance(args[1], tuple) else 'localhost'
            if host not in ('127.0.0.1', 'localhost'): print(event, host, file=sys.stderr, flush=True)
        sys.addaudithook(watch)
        sys.argv = ['demo.py', '--port', '{port}']
        runpy.run_path({str(root/'tools'/'demo.py')!r}, run_name='__main__')'''
    log, url = Path(tmp)/'log', f'http://127.0.0.1:{port}/'
    with open(log, 'w') as f: server = subprocess.Popen([sys.executable, '-c', re.sub(r'^        ', '', code, flags=re.M)], cwd=tmp, stdout=f, stderr=f)
    try: faults = play(url) if answers_at(url, server) else ['the page did not open']
    finally: server.terminate(); server.wait()
    said = log.read_text(encoding='utf-8')
    faults += [line for line in said.splitlines() if 'Traceback' in line or line.startswith('socket.')]
    if faults or url not in said: raise Failed('\n'.join([*faults, said]))
    return 'typed, pressed and drawn at 1280 and 390 px: pictures form and change, mistakes get a message, no request leaves the machine'

def main():
    before, passed, failed, skipped = snapshot(), 0, 0, 0
    def check(name, f, *args):
        nonlocal passed, failed, skipped
        start = time.time()
        try: said = f(*args)
        except Exception as e:
            failed += 1
            text = str(e) if isinstance(e, Failed) else f'{type(e).__name__}: {e}'
            print(f'FAILED   {name}\n         ' + text.replace('\n', '\n         '), flush=True)
            return
        if said is None: skipped += 1
        else:            passed  += 1
        print(f'{"ok" if said else "skipped":8} {name} ({time.time()-start:.0f} s): {said or "this machine has no browser; CI has"}', flush=True)

    for name,f in ('export', export_in_sync), ('clean', notebooks_clean), ('wheel', wheel_installs), ('run', paints), ('demo', plays), ('lab', copies_kept), ('edit', saving_changes_nothing), ('outputs', outputs_compared):
        with tempfile.TemporaryDirectory() as tmp: check(name, f, tmp)
    check('extras', works_without_extras)
    check('exercises', exercises_complete)
    rows = notebook_tests()
    for name,secs,fault in rows: print(f'{"FAILED" if fault else "ok":8} {name}' + (f'\n{fault}' if fault else '').replace('\n', '\n         '))
    failed, passed = failed + sum(bool(f) for *_,f in rows), passed + sum(not f for *_,f in rows)
    slowest = sorted(rows, key=lambda r: -r[1])[:5]
    print('slowest: ' + ', '.join(f'{n.removesuffix(".ipynb")} {t:.0f} s' for n,t,_ in slowest), flush=True)
    check('site', site_builds)
    check('api', api_complete)
    check('browser', site_in_browser)
    def unchanged():
        if bad := changes(before, snapshot()): raise Failed(f'the tests changed {", ".join(bad)}')
        return 'nothing in the tree has changed'
    check('tree', unchanged)
    print(f'{passed} passed, {failed} failed' + (f', {skipped} skipped' if skipped else ''))
    sys.exit(failed > 0)

if __name__ == '__main__': main()
