"""Settings of the documentation site; `scripts/build_docs.py` lays out what they are applied to."""

from importlib.metadata import version as _version

project = "introspect"
author = "The introspect authors"
copyright = author
release = version = _version("introspect-lm")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["files/**", "conf.py"]
# Cross-references into files of other kinds become downloads; a page that does not exist is a warning, so an error.
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline", "colon_fence"]
suppress_warnings = ["myst.header"]  # a how-to may begin below the title of its first section

nb_execution_mode = "cache"
nb_execution_timeout = 900
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True

default_role = "code"  # docstrings are written with single back-ticks
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
napoleon_use_ivar = True
napoleon_use_rtype = False
python_maximum_signature_line_length = 90
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "introspect"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {"source_repository": "", "navigation_with_keys": True}
pygments_style = "friendly"


def setup(app):
    """Without this `str_` of numpy would be read as a reference."""

    def escaped(*told):
        lines = told[-1]
        lines[:] = [line.replace("numpy.str_", "numpy.str\\_") for line in lines]

    def parsable(*told):
        signature, returned = told[-2:]
        return (signature and signature.replace("<factory>", "..."), returned)

    app.connect("autodoc-process-docstring", escaped, priority=900)
    app.connect("autodoc-process-signature", parsable)
