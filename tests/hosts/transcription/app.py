"""Transcription over HTTP: upload recordings, get what is said in them.

python app.py --model-path FOLDER [--host 127.0.0.1] [--port 8000] [--quantize]

curl -F file=@speech.wav -F language=auto http://127.0.0.1:8000/transcribe
curl -F files=@a.wav -F files=@b.wav http://127.0.0.1:8000/transcribe/batch
"""

import argparse
import contextlib
import os
import socket
import tempfile
import threading
from typing import Annotated

import uvicorn
from fastapi import FastAPI, File, Form, HTTPException, UploadFile
from funasr_onnx import SenseVoiceSmall
from funasr_onnx.utils.postprocess_utils import rich_transcription_postprocess

LANGUAGES = ("auto", "zh", "en", "yue", "ja", "ko", "nospeech")


class Transcriber:
    """One model, which is asked by one request at a time."""

    def __init__(self, model):
        self.model = model
        self.lock = threading.Lock()

    def transcribe(self, recordings, language="auto", use_itn=True):
        """Return what is said in each recording, given as the bytes of a file."""
        with contextlib.ExitStack() as stack:
            paths = [stack.enter_context(temporary(data)) for data in recordings]
            textnorm = "withitn" if use_itn else "woitn"
            with self.lock:
                texts = self.model(paths, language=language, textnorm=textnorm, use_itn=use_itn)
        return [rich_transcription_postprocess(text) for text in texts]


@contextlib.contextmanager
def temporary(data):
    with tempfile.NamedTemporaryFile(suffix=".wav", delete=False) as file:
        file.write(data)
    try:
        yield file.name
    finally:
        os.unlink(file.name)


def make_app(transcriber):
    app = FastAPI(title="Transcription")

    @app.get("/health")
    def health():
        return {"status": "ok"}

    @app.post("/transcribe")
    def transcribe(
        file: Annotated[UploadFile, File()],
        language: Annotated[str, Form()] = "auto",
        use_itn: Annotated[bool, Form()] = True,
    ):
        check(language)
        [text] = transcriber.transcribe([file.file.read()], language, use_itn)
        return {"text": text}

    @app.post("/transcribe/batch")
    def transcribe_batch(
        files: Annotated[list[UploadFile], File()],
        language: Annotated[str, Form()] = "auto",
        use_itn: Annotated[bool, Form()] = True,
    ):
        check(language)
        recordings = [file.file.read() for file in files]
        return {"texts": transcriber.transcribe(recordings, language, use_itn)}

    return app


def check(language):
    if language not in LANGUAGES:
        raise HTTPException(422, f"language is one of {', '.join(LANGUAGES)}")


def serve(app, host, port):
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen()
    address, port = listener.getsockname()[:2]
    print(f"serving on http://{address}:{port}", flush=True)  # noqa: T201
    config = uvicorn.Config(app, log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model-path", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--quantize", action="store_true")
    return parser.parse_args()


def main():
    options = arguments()
    model = SenseVoiceSmall(
        options.model_path, batch_size=1, quantize=options.quantize, intra_op_num_threads=1
    )
    serve(make_app(Transcriber(model)), options.host, options.port)


if __name__ == "__main__":
    main()
