"""Whatever is done to a folder, the store ends with exactly the voices in it."""

import contextlib
import os
import random
import shutil

import pytest

from tests.prewarm.watching import QUICK, Watching, keys_of

TEXTS = [f"la {number}" for number in range(12)] + ["broken", "broken too"]


class Librarian:
    """Does what people and their programs do to a folder of voices."""

    def __init__(self, folder, outside, seed):
        self.folder, self.outside, self.any = str(folder), str(outside), random.Random(seed)
        self.open = []
        os.makedirs(self.outside)

    def name(self, folder=None):
        parts = [self.any.choice(["", "", "a", "b", "a/c"])] if folder is None else [folder]
        name = f"{self.any.randrange(8)}{self.any.choice(['.wav', '.wav', '.flac', '.txt'])}"
        path = os.path.join(self.folder, *filter(None, parts), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def there(self):
        found = []
        for place, _, names in os.walk(self.folder):
            found += [os.path.join(place, name) for name in names if not name.startswith(".")]
        return self.any.choice(sorted(found)) if found else None

    def write(self, path, text=None):
        with open(path, "w") as file:
            file.write(text or self.any.choice(TEXTS))

    def drop(self):
        self.write(self.name())

    def drop_slowly(self):
        path = self.name()
        if not os.path.islink(path):
            file = open(path, "w", buffering=1)  # noqa: SIM115 - closed later
            file.write("la la")
            self.open.append(file)

    def finish_writing(self):
        if self.open:
            file = self.open.pop()
            file.write(self.any.choice(TEXTS))
            file.close()

    def move(self):
        if path := self.there():
            os.replace(path, self.name())

    def move_out_or_in(self):
        held = os.path.join(self.outside, f"{self.any.randrange(3)}.wav")
        if os.path.exists(held):
            os.replace(held, self.name())
        elif path := self.there():
            os.replace(path, held)

    def overwrite(self):
        if path := self.there():
            self.write(path)

    def save_as_editors_do(self):
        path = self.name()
        head, tail = os.path.split(path)
        temporary = os.path.join(
            head, self.any.choice([f".{tail}.swp", f"{tail}~", f"{tail}.part"])
        )
        self.write(temporary)
        os.replace(temporary, path)

    def truncate(self):
        if path := self.there():
            os.truncate(path, self.any.randrange(4))

    def touch(self):
        if path := self.there():
            os.utime(path)

    def delete(self):
        if path := self.there():
            os.unlink(path)

    def copy(self):
        if path := self.there():
            target = self.name()
            if not os.path.exists(target):
                shutil.copy2(path, target)

    def link(self):
        path, target = self.there(), self.name()
        if path and not os.path.lexists(target):
            self.any.choice([os.link, os.symlink])(path, target)

    def move_folder(self):
        source = os.path.join(self.folder, self.any.choice("ab"))
        target = os.path.join(self.folder, self.any.choice("xy"))
        if os.path.isdir(source) and not os.path.lexists(target):
            os.replace(source, target)

    def link_folder(self):
        held, link = os.path.join(self.outside, "more"), os.path.join(self.folder, "z")
        if not os.path.lexists(link):
            os.makedirs(held, exist_ok=True)
            self.write(os.path.join(held, "linked.wav"))
            os.symlink(held, link)
        elif self.any.random() < 0.5:
            self.write(os.path.join(held, "linked.wav"))
        else:
            os.unlink(link)

    def remove_folder(self):
        shutil.rmtree(os.path.join(self.folder, self.any.choice("abxy")), ignore_errors=True)

    def work(self, times):
        deeds = [
            *([self.drop] * 4), *([self.overwrite] * 2), *([self.move] * 2), *([self.delete] * 2),
            self.drop_slowly, self.finish_writing, self.move_out_or_in, self.save_as_editors_do,
            self.truncate, self.touch, self.copy, self.link, self.move_folder, self.link_folder,
            self.remove_folder,
        ]  # fmt: skip
        for _ in range(times):
            with contextlib.suppress(OSError):  # a link to nothing, or to itself
                self.any.choice(deeds)()
            yield
        while self.open:
            self.finish_writing()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # watchdog's
@pytest.mark.parametrize("poll", [False, True], ids=["events", "polling"])
@pytest.mark.parametrize("seed", range(3))
def test_the_store_ends_with_exactly_the_voices_in_the_folder(
    seed, poll, small, root, tmp_path, capfd
):
    librarian = Librarian(small.voices, tmp_path / "outside", seed)
    for _ in librarian.work(10):  # what is there at the start
        pass
    plan = QUICK._replace(poll=poll)
    with Watching(small, root, tmp_path / "states", plan) as watching:
        for _ in librarian.work(120):
            if librarian.any.random() < 0.1:
                watching.until(lambda: watching.daemon.desk.calm)
        expected = keys_of(small, tmp_path / "afresh", capfd)
        watching.until(lambda: watching.labels().keys() == expected)
        watching.until(lambda: watching.daemon.desk.calm)
    assert watching.labels().keys() == expected
    here = {os.path.join(place, name) for place, _, names in os.walk(small.voices, followlinks=True)
            for name in names}  # fmt: skip
    assert set(watching.labels().values()) <= here
