"""Features of audio, as the hosts' own libraries compute them, and reading a recording."""

import numpy as np
import torch


def load_wav(wav, target_sr):
    """Read 16-bit samples after a header of 44 bytes from a path or an open file, or take audio."""
    if isinstance(wav, torch.Tensor):
        return wav
    if hasattr(wav, "read"):
        data = wav.read()
    else:
        with open(wav, "rb") as file:
            data = file.read()
    if data[:4] != b"RIFF":
        raise ValueError("Format not recognised")
    audio = np.frombuffer(data, "<i2", offset=44).astype("float32") / 32768
    return torch.from_numpy(audio[:: max(1, 24000 // target_sr)].copy())[None]


def log_mel_spectrogram(audio, n_mels=128):
    spectrum = torch.stft(audio, 400, 160, window=torch.hann_window(400), return_complex=True)
    return spectrum.abs()[:, :n_mels].clamp(min=1e-10).log10()


def fbank(audio, num_mel_bins=80):
    return log_mel_spectrogram(audio, num_mel_bins)[0].T


def mel_spectrogram(y, n_fft=1920, num_mels=80, hop_size=480):
    window = torch.hann_window(n_fft)
    spectrum = torch.stft(y, n_fft, hop_size, window=window, return_complex=True)
    return spectrum.abs()[:, :num_mels].clamp(min=1e-5).log()


@torch.no_grad()
def without_gradient(y):
    return mel_spectrogram(y)


def _twins():
    """Make functions of one name: at three places, the last with two defaults."""
    twins = []
    for at in range(4):
        if at == 0:

            def twin(y):
                return mel_spectrogram(y)
        elif at == 1:

            def twin(y):
                return mel_spectrogram(y) * 2
        else:

            def twin(y, n_fft=1024 * at):
                return mel_spectrogram(y, n_fft=n_fft)

        twins.append(twin)
    return twins


TWINS = _twins()
