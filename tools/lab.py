"""`make lab`: copies of the notebooks in `_work/`, to run and change. A copy that you have changed is never overwritten.

usage: lab.py [--update]     (with it, new versions of notebooks that you have changed are put beside yours)
"""
import argparse, hashlib, json, shutil
from pathlib import Path

root = Path(__file__).resolve().parent.parent

def digest(path): return hashlib.sha256(path.read_bytes()).hexdigest()

def prepare(root=root, update=False):
    "Make or renew the copies: names of those that were made, renewed, put beside, and that wait for an update"
    nbs, work = root/'nbs', root/'_work'
    work.mkdir(exist_ok=True)
    for name in 'images', 'results':                               # what the notebooks show and read
        if not (work/name).is_symlink(): (work/name).symlink_to(Path('..')/'nbs'/name)
    known = work/'.originals.json'                                 # name -> the original that the copy was made of
    seen  = json.loads(known.read_text(encoding='utf-8')) if known.exists() else {}
    res   = dict(made=[], renewed=[], beside=[], waiting=[])
    for new in sorted(nbs.glob('*.ipynb')):
        mine, now = work/new.name, digest(new)
        if seen.get(new.name) == now and mine.exists(): continue
        if not mine.exists():                    how, to = 'made', mine
        elif digest(mine) == seen.get(new.name): how, to = 'renewed', mine     # never changed: nothing is lost
        elif digest(mine) == now:                how, to = 'renewed', mine
        elif update:                             how, to = 'beside', mine.with_name(f'{new.stem} (new).ipynb')
        else:                                    how, to = 'waiting', None
        if to:
            shutil.copyfile(new, to)
            seen[new.name] = now
        res[how].append(new.stem)
    known.write_text(json.dumps(seen, indent=1), encoding='utf-8')
    return res

def main(update):
    res = prepare(update=update)
    says = dict(made='new copies in _work/', renewed='brought up to date (you had not changed them)',
                beside='new versions beside yours, as "NAME (new).ipynb"',
                waiting='the course has a new version, yours is as you left it; `make lab UPDATE=1` puts the new one beside it')
    for how,names in res.items():
        if names: print(f'{len(names)} notebooks: {says[how]}' + (f': {", ".join(names)}' if how in ('beside', 'waiting') else ''))

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--update', action='store_true')
    main(parser.parse_args().update)
