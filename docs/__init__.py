"""The documentation: pages, what is generated into them and into the README, and the site's build.

Pages are the Markdown files beside this one; ``mkdocs build --strict`` makes the site of them, with verdicts,
figures and the reference as they are at that moment. Tracked and generated are the tables and pictures of the
README: ``python -m docs`` makes them anew.
"""
