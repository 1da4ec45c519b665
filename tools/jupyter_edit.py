"Jupyter's configuration for `make edit`: a notebook is cleaned as it is saved, so that saving what hasn't changed changes nothing"
from nbdev.clean import clean_jupyter

c.FileContentsManager.pre_save_hook = clean_jupyter  # noqa: F821 (Jupyter provides `c`)
