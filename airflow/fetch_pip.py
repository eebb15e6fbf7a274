"""Fetches the pinned pip wheel, for a Python that has no ensurepip (Debian's, without the package python3-venv).

usage: fetch_pip.py FOLDER      prints the wheel's path; `python WHEEL/pip …` runs it
The package index is that of PIP_INDEX_URL, else PyPI. Only build.sh calls this.
"""

import hashlib
import html.parser
import os
import sys
import urllib.parse
import urllib.request

WHEEL = "pip-26.3-py3-none-any.whl"
SHA256 = "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"


class Links(html.parser.HTMLParser):
    """The links of a page of the index, by file name."""

    def __init__(self, base):
        super().__init__()
        self.base, self.found = base, {}

    def handle_starttag(self, tag, attributes):
        href = dict(attributes).get("href")
        if tag == "a" and href:
            url = urllib.parse.urljoin(self.base, href)
            self.found[os.path.basename(urllib.parse.urlsplit(url).path)] = url


def get(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read()


def main():
    page = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/") + "/pip/"
    links = Links(page)
    links.feed(get(page).decode())
    if WHEEL not in links.found:
        sys.exit(f"{page} has no {WHEEL}")
    content = get(links.found[WHEEL])
    if hashlib.sha256(content).hexdigest() != SHA256:
        sys.exit(f"{links.found[WHEEL]} is not the file that is expected: its SHA-256 is not {SHA256}")
    path = os.path.join(sys.argv[1], WHEEL)
    with open(path, "wb") as file:
        file.write(content)
    print(path)


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"cannot fetch pip: {error}")
