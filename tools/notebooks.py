"""Run notebooks: the whole course at quick scale, or some of them at full scale in place.

usage: notebooks.py course [NAME ...] | full [NAME ...] | stale | carry NAME ... --why REASON
"""
import argparse, json, os, re, sys, time
from contextlib import contextmanager
from pathlib import Path

root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root))
nbs  = root/'nbs'
os.environ.setdefault('PYDEVD_DISABLE_FILE_VALIDATION', '1')   # a debugger's warning that has no place in saved outputs
os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, [str(root), os.environ.get('PYTHONPATH')]))

import nbformat
from nbclient import NotebookClient
from tqdm import tqdm


def source(cell): return ''.join(cell['source'])
def flags(cell):
    "Directives of a cell: `#| name` in the comments above its first line of code"
    top = re.match(r'(\s*#.*\n?)*', source(cell)).group()
    return set(re.findall(r'^#\|\s*(\w+)', top, re.M))

def pick(names):
    "Paths of the named notebooks ('01', '01_matmul' or a path), or of all"
    everything = sorted(nbs.glob('*.ipynb'))
    if not names: return everything
    picked = []
    for name in names:
        stem = Path(name).stem
        found = [p for p in everything if p.stem == stem] or [p for p in everything if p.stem.startswith(stem + '_')]
        if len(found) != 1: sys.exit(f'{name}: expected the name of one notebook in nbs/, found {[p.stem for p in found] or "none"}')
        picked += found
    return picked

def unavailable():
    "Flags of cells that this machine can't run: `cuda` without a GPU, `hub` without a connection"
    import torch
    from miniai.core import hub_reachable
    return ({'cuda'} if not torch.cuda.is_available() else set()) | ({'hub'} if not hub_reachable() else set())


class Client(NotebookClient):
    "Runs a notebook in a fresh kernel; cells with a flag in `keep` are not run, so that their saved outputs stay"
    keep = frozenset()
    async def async_execute_cell(self, cell, cell_index, *args, **kwargs):
        if flags(cell) & self.keep: return cell
        return await super().async_execute_cell(cell, cell_index, *args, **kwargs)

def execute(path, keep=frozenset(), **env):
    "Run the notebook at `path` with `nbs/` as working directory; gives the notebook, the seconds it took and the error or None"
    nb = nbformat.read(path, as_version=4)
    old = {k: os.environ.get(k) for k in env}
    os.environ.update(env)
    client = Client(nb, timeout=None, kernel_name='python3', resources={'metadata': {'path': str(nbs)}}, coalesce_streams=True,
                    extra_arguments=['--log-level=ERROR'])
    client.keep = keep
    start, error = time.time(), None
    try: client.execute()
    except Exception as e: error = f'{type(e).__name__}: {e}'   # a cell that raised, or a kernel that died
    finally:
        for k,v in old.items():
            if v is None: os.environ.pop(k, None)
            else: os.environ[k] = v
    return nb, time.time()-start, error

def write_clean(nb, path):
    "Write a notebook as nbdev keeps it: no execution counts, no volatile metadata"
    from execnb.nbio import dict2nb, write_nb
    from nbdev.clean import clean_nb
    nb = dict2nb(json.loads(nbformat.writes(nb)))
    clean_nb(nb, allowed_cell_metadata_keys=['jupyter'])
    write_nb(nb, path)

def table(rows):
    "Closing table of (notebook, seconds, passed)"
    w = max(len(r[0]) for r in rows)
    print(f'\n{"notebook":{w}}  seconds  passed')
    for name,secs,ok in rows: print(f'{name:{w}}  {secs:7.0f}  {"yes" if ok else "NO"}')
    bad = sum(not ok for _,_,ok in rows)
    print(f'{len(rows)-bad} passed, {bad} failed')
    return bad


def course(names):
    "All notebooks (or those named) at quick scale, executed copies in `_course/`"
    out, rows = root/'_course', []
    out.mkdir(exist_ok=True)
    bar = tqdm(pick(names), unit='notebook')
    for path in bar:
        bar.set_postfix_str(path.stem)
        nb, secs, error = execute(path, MINIAI_FULL='0', MINIAI_SAVE='0')
        nbformat.write(nb, out/path.name)
        rows.append((path.stem, secs, error is None))
        if error: tqdm.write(f'{path.stem}\n{error}')
    sys.exit(table(rows) > 0)

@contextmanager
def all_or_nothing(stem):
    "What a full run writes besides the notebook (its file of figures, begun anew; pictures; weights) stays only if the body doesn't raise"
    record = nbs/'results'/f'{stem}.json'
    folders = [nbs/'images', root/'miniai'/'assets']
    def kept(): return [p for p in [record, *(p for d in folders for p in d.rglob('*'))] if p.is_file()]
    before = {p: p.read_bytes() for p in kept()}
    record.unlink(missing_ok=True)                   # figures of an earlier run don't linger
    try: yield record
    except BaseException:
        for p in kept(): p.unlink()
        for d in sorted((p for f in folders for p in f.rglob('*') if p.is_dir()), reverse=True):
            if not any(d.iterdir()): d.rmdir()       # a folder that only this run had
        for p,data in before.items():
            p.parent.mkdir(parents=True, exist_ok=True)
            p.write_bytes(data)
        raise

def finish_record(path, nb, secs):
    "Add to the figures what belongs to the whole run, the notebook's hash among it"
    import platform, torch
    from miniai.core import code_hash, def_device
    record = json.loads(path.read_text(encoding='utf-8')) if path.exists() else {'results': []}
    record.update(hash=code_hash(nb), device=def_device, seconds=round(secs), python=platform.python_version(), torch=torch.__version__)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')

def full(names):
    "Full scale, in place: outputs into the notebook, figures into `nbs/results`, weights into `miniai/assets`"
    keep, rows = unavailable(), []
    bar = tqdm(pick(names), unit='notebook')
    for path in bar:
        bar.set_postfix_str(path.stem)
        try:
            with all_or_nothing(path.stem) as record:
                nb, secs, error = execute(path, keep, MINIAI_FULL='1', MINIAI_SAVE='1', MINIAI_NB=path.stem)
                rows.append((path.stem, secs, error is None))
                if error: raise RuntimeError(error)
                write_clean(nb, path)
                finish_record(record, path, secs)
        except RuntimeError as e: tqdm.write(f'{path.stem}\n{e}')
    sys.exit(table(rows) > 0)

def stale():
    "Name the notebooks whose code is not the code of their last full run"
    from miniai.core import code_hash
    for path in pick([]):
        kept = nbs/'results'/f'{path.stem}.json'
        if not kept.exists(): print(f'{path.stem}: never run at full scale')
        elif json.loads(kept.read_text(encoding='utf-8')).get('hash') != code_hash(path): print(f'{path.stem}: its code changed after its full run')

def carry(names, why):
    "Keep the figures of the named notebooks although their code changed, because the change can't have changed them; the reason is kept beside the figures"
    from miniai.core import code_hash
    for path in pick(names):
        kept = nbs/'results'/f'{path.stem}.json'
        record = json.loads(kept.read_text(encoding='utf-8'))
        record.update(hash=code_hash(path), carried=[*record.get('carried', []), why])
        kept.write_text(json.dumps(record, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('what', choices=['course', 'full', 'stale', 'carry'])
    parser.add_argument('names', nargs='*')
    parser.add_argument('--why', help='for carry: what shows that the figures are still those of this code')
    args = parser.parse_args()
    if args.what == 'carry':
        if not (args.names and args.why): parser.error('carry needs the names of notebooks, and --why')
        carry(args.names, args.why)
        sys.exit()
    if args.what == 'stale': stale()
    else: globals()[args.what](args.names)
