"""The transcription service with the published Redis cache, made again from its notes.

    REDIS_URL=redis://127.0.0.1:6379 python service_recipe.py --model-path FOLDER

No code of theirs is used. What is known, and followed here: the key is the MD5 of the first 1 KB of
the file, the language and `use_itn`; values are pickled and kept for 24 hours; connections come
from a pool of ten. Of a batch, all files are looked up and the model is run on the others.

It is run in the folder of the service, whose `app.py` it imports.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import sys

sys.path[0] = os.getcwd()  # not the folder of this file: there is another `redis` in it

import app  # noqa: E402
import redis  # noqa: E402

HEAD = 1024
DAY = 86_400
POOL = 10


class Cached(app.Transcriber):
    """Looks into Redis before it asks the model."""

    def __init__(self, model, client):
        super().__init__(model)
        self.client = client

    def transcribe(self, recordings, language="auto", use_itn=True):
        keys = [make_key(data, language, use_itn) for data in recordings]
        found = {key: pickle.loads(data) for key in keys if (data := self.client.get(key))}
        rest = [(key, data) for key, data in zip(keys, recordings, strict=True) if key not in found]
        if rest:
            texts = super().transcribe([data for _, data in rest], language, use_itn)
            for (key, _), text in zip(rest, texts, strict=True):
                found[key] = text
                self.client.execute_command("SETEX", key, DAY, pickle.dumps(text))
        return [found[key] for key in keys]


def make_key(data, language, use_itn):
    return f"sensevoice:{hashlib.md5(data[:HEAD]).hexdigest()}:{language}:{use_itn}"


def main():
    options = app.arguments()
    model = app.SenseVoiceSmall(
        options.model_path, batch_size=1, quantize=options.quantize, intra_op_num_threads=1
    )
    pool = redis.ConnectionPool.from_url(os.environ["REDIS_URL"], max_connections=POOL)
    cached = Cached(model, redis.Redis(connection_pool=pool))
    app.serve(app.make_app(cached), options.host, options.port)


if __name__ == "__main__":
    main()
