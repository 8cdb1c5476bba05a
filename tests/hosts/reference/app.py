"""The service over HTTP: POST a WAV and a text, get a WAV.

python app.py --model-path FOLDER [--host 127.0.0.1] [--port 8080] [--quantization int4]

curl --data-binary @voice.wav 'http://127.0.0.1:8080/clone?text=Hello' > said.wav
"""

import argparse
import io
import logging.config
import socket
import tempfile

import soundfile
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from tokenizer import StepAudioTokenizer
from tts import StepAudioTTS

LOGGING = {
    "version": 1,
    "disable_existing_loggers": True,
    "handlers": {"console": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}},
    "root": {"level": "ERROR", "handlers": ["console"]},
}


def make_app(tts):
    app = FastAPI(title="Speech")

    @app.get("/health")
    def health():
        return {"status": "ok"}

    @app.post("/clone")
    async def clone(request: Request, text: str, prompt_text: str = ""):
        wav = await request.body()
        return Response(
            await run_in_threadpool(speak, tts, wav, prompt_text, text), media_type="audio/wav"
        )

    return app


def speak(tts, wav, prompt_text, text):
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        file.write(wav)
        file.flush()
        audio, rate = tts.clone(file.name, prompt_text, text)
    out = io.BytesIO()
    soundfile.write(out, audio.numpy().T, rate, format="WAV", subtype="PCM_16")
    return out.getvalue()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model-path", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--quantization", choices=["int4"])
    args = parser.parse_args()
    tts = StepAudioTTS(args.model_path, StepAudioTokenizer(args.model_path), args.quantization)
    logging.config.dictConfig(LOGGING)
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((args.host, args.port))
    listening.listen()
    print(f"serving on http://{args.host}:{listening.getsockname()[1]}", flush=True)  # noqa: T201
    config = uvicorn.Config(make_app(tts), log_config=None)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
