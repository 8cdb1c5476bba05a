"""Speech to tokens: two streams, one of what is said and one of how it sounds."""

import os
import threading

import numpy as np
import onnxruntime
import torch
from audio import energy_norm_fn, mel_spectrogram, resample_audio, trim_silence
from funasr import AutoModel
from funasr.utils.load_utils import extract_fbank

RATE = 16000
FRAME = 960  # samples of one encoder frame: six steps of 10 ms
SHORTEST = 480
LONGEST = 30 * RATE
AUDIO_BASE = 65536
VQ06_BASE = 1024


class StepAudioTokenizer:
    """FunASR's streaming encoder and a k-means code book; an ONNX speech tokenizer."""

    def __init__(self, encoder_path, funasr_model_id="paraformer-online"):
        self.funasr_model = AutoModel(
            model=os.path.join(encoder_path, funasr_model_id),
            hub="ms",
            device="cuda" if torch.cuda.is_available() else "cpu",
            ncpu=torch.get_num_threads(),
            disable_update=True,
            disable_pbar=True,
        )
        self.funasr_model.repo_path = encoder_path
        self.kms = torch.tensor(np.load(os.path.join(encoder_path, "linguistic_tokenizer.npy")))
        self.ort_session = open_session(os.path.join(encoder_path, "speech_tokenizer_v1.onnx"))
        self.chunk_size = [0, 4, 5]
        self.encoder_chunk_look_back = 4
        self.decoder_chunk_look_back = 1
        self._sessions = {}
        self._encoder_lock = threading.Lock()
        self._session_lock = threading.Lock()

    def __call__(self, audio, sr):
        _, vq02, vq06 = self.wav2token(audio, sr, False)
        return self.merge_vq0206_to_token_str(vq02, vq06)

    def preprocess_wav(self, audio, sample_rate, enable_trim=True, energy_norm=True):
        audio = resample_audio(audio, sample_rate, RATE)
        if energy_norm:
            audio = energy_norm_fn(audio)
        return trim_silence(audio, RATE) if enable_trim else audio

    def wav2token(self, audio, sample_rate, enable_trim=True, energy_norm=True):
        """Return (interleaved tokens for the language model, vq02 codes, vq06 codes)."""
        audio = self.preprocess_wav(audio, sample_rate, enable_trim, energy_norm)
        vq02 = self.get_vq02_code(audio)
        vq06 = self.get_vq06_code(audio)
        return [AUDIO_BASE + code for code in _interleave(vq02, vq06)], vq02, vq06

    def get_vq02_code(self, audio, session_id=None, is_final=True):
        """Encode a whole recording, or the next piece of a session that is not final yet."""
        with self._encoder_lock, torch.inference_mode():
            session = self._sessions.pop(session_id, None) or self._new_session()
            frames = self._encode(audio.squeeze(0), session, is_final)
            if not is_final:
                self._sessions[session_id] = session
        return torch.cdist(frames, self.kms).argmin(dim=1).tolist()

    def get_vq06_code(self, audio):
        feats_name, length_name = (i.name for i in self.ort_session.get_inputs())
        codes = []
        with self._session_lock:
            for piece in audio.split(LONGEST, dim=1):
                if piece.shape[1] < SHORTEST:
                    continue
                mel = mel_spectrogram(piece, rate=RATE, n_fft=400, hop=160, n_mels=128)
                length = np.array([mel.shape[2]], dtype=np.int32)
                found = self.ort_session.run(None, {feats_name: mel.numpy(), length_name: length})
                codes += found[0].flatten().tolist()
        return codes

    def merge_vq0206_to_token_str(self, vq02, vq06):
        return "".join(f"<audio_{code}>" for code in _interleave(vq02, vq06))

    def _new_session(self):
        state = self.funasr_model.model.init_cache(
            {},
            **{
                **self.funasr_model.kwargs,
                "chunk_size": self.chunk_size,
                "encoder_chunk_look_back": self.encoder_chunk_look_back,
                "decoder_chunk_look_back": self.decoder_chunk_look_back,
            },
        )
        padding = self.chunk_size[0] + self.chunk_size[2]  # what the first chunk looks back on
        return {"state": state, "rest": torch.empty(0), "padding": padding}

    def _encode(self, samples, session, is_final):
        """Feed the encoder chunk by chunk; return the frames that are settled, (n, width)."""
        samples = torch.cat((session["rest"], samples))
        stride = self.chunk_size[1] * FRAME
        whole = len(samples) // stride * stride
        chunks = [(chunk, False) for chunk in samples[:whole].split(stride) if len(chunk)]
        session["rest"] = samples[whole:]
        if is_final:
            chunks.append((session["rest"], True))
        frames = [self._encode_chunk(chunk, session, last) for chunk, last in chunks]
        return torch.cat(frames) if frames else torch.empty(0, self.kms.shape[1])

    def _encode_chunk(self, samples, session, last):
        state, ahead = session["state"], self.chunk_size[0] + self.chunk_size[2]
        if last and len(samples) < FRAME:
            feats = state["encoder"]["feats"]
            state["encoder"]["tail_chunk"] = True
            lengths = torch.tensor([feats.shape[1]])
        else:
            feats, lengths = extract_fbank(
                [samples],
                data_type="sound",
                frontend=self.funasr_model.kwargs["frontend"],
                cache=state["frontend"],
                is_final=last,
            )
        frames = self.funasr_model.model.encode_chunk(feats, lengths, cache=state)[0][0].cpu()
        settled = frames if last else frames[: len(frames) - ahead]
        padding = min(session["padding"], len(settled))
        session["padding"] -= padding
        return settled[padding:]


def open_session(path):
    """Open an ONNX model on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    providers = [
        name
        for name in ("CUDAExecutionProvider", "CPUExecutionProvider")
        if name in onnxruntime.get_available_providers()
    ]
    return onnxruntime.InferenceSession(path, sess_options=options, providers=providers)


def _interleave(vq02, vq06):
    """Two codes of the slow stream, then three of the fast one, as long as both have enough."""
    mixed = []
    for n in range(min(len(vq02) // 2, len(vq06) // 3)):
        mixed += vq02[2 * n : 2 * n + 2]
        mixed += [VQ06_BASE + code for code in vq06[3 * n : 3 * n + 3]]
    return mixed
