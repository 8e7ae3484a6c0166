"""One self-contained HTML file that shows a study: what it found, how sure that is, and every reply behind it."""

from introspect.show.page.write import write_page

__all__ = ["write_page"]
