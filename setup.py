"Everything about the package stands in `settings.ini`; this file only hands it on."
from configparser import ConfigParser
from pathlib import Path
from setuptools import setup

here = Path(__file__).parent
config = ConfigParser(delimiters=['='])
config.read(here/'settings.ini', encoding='utf-8')
cfg = config['DEFAULT']

extras = {k.removeprefix('extra_'): v.split() for k,v in cfg.items() if k.startswith('extra_')}
extras['all'] = sorted({name for names in extras.values() for name in names})
extras['dev'] = extras['all'] + cfg['dev_requirements'].split()

setup(
    name             = cfg['lib_name'],
    version          = cfg['version'],
    description      = cfg['description'],
    long_description = (here/'README.md').read_text(encoding='utf-8'),
    long_description_content_type = 'text/markdown',
    keywords         = cfg['keywords'],
    author           = cfg['author'],
    url              = cfg['git_url'] or None,
    license          = 'Apache-2.0',
    license_files    = ['LICENSE', 'miniai/assets/*LICENSE*'],
    packages         = [cfg['lib_name']],
    package_data     = {cfg['lib_name']: ['assets/**']},
    python_requires  = f">={cfg['min_python']}",
    install_requires = cfg['requirements'].split(),
    extras_require   = extras,
    zip_safe         = False,
)
