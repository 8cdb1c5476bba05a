"""Reading, resampling and levelling recordings; mel spectrograms."""

from functools import lru_cache

import librosa
import soundfile
import torch
import torchaudio


def load_audio(path):
    """Read a recording as (1, T) float32, mixed to one channel, and its sample rate."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(samples).mean(dim=1)[None], rate


def resample_audio(audio, rate, wanted):
    return audio if rate == wanted else torchaudio.functional.resample(audio, rate, wanted)


def limit_peak(audio, peak=0.6):
    loudest = float(audio.abs().max()) if audio.numel() else 0.0
    return audio * (peak / loudest) if loudest > peak else audio


def energy_norm_fn(audio, level=0.08):
    """Bring the root mean square to a level, without clipping."""
    rms = float(audio.square().mean().sqrt())
    return limit_peak(audio * (level / rms), 0.95) if rms > 0 else audio


def trim_silence(audio, rate, floor_db=-45.0, keep_seconds=0.05):
    """Cut what is quieter than `floor_db` below the loudest 20 ms, at both ends."""
    size = rate // 50
    frames = audio[:, : audio.shape[1] // size * size].reshape(-1, size)
    if not len(frames):
        return audio
    power = frames.square().mean(dim=1)
    loud = (power > power.max() * 10 ** (floor_db / 10)).nonzero()
    if not len(loud):
        return audio
    margin = int(rate * keep_seconds)
    first, last = int(loud[0]) * size, (int(loud[-1]) + 1) * size
    return audio[:, max(0, first - margin) : last + margin]


def mel_spectrogram(audio, *, rate, n_fft, hop, n_mels, f_min=0.0, f_max=None):
    """Natural logarithm of the mel energies, (1, n_mels, frames)."""
    window = torch.hann_window(n_fft)
    spectrum = torch.stft(audio, n_fft, hop, window=window, center=True, return_complex=True)
    energies = _mel_filters(rate, n_fft, n_mels, f_min, f_max) @ spectrum.abs().square()
    return energies.clamp_min(1e-10).log()


@lru_cache(maxsize=8)
def _mel_filters(rate, n_fft, n_mels, f_min, f_max):
    filters = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=n_mels, fmin=f_min, fmax=f_max)
    return torch.from_numpy(filters)
