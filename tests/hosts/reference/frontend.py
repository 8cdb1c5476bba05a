"""What the vocoder needs to know of a voice: its mel spectrogram and a speaker embedding."""

import torch
from audio import mel_spectrogram, resample_audio
from tokenizer import open_session
from torchaudio.compliance import kaldi

SPEAKER_RATE = 16000


class CosyVoiceFrontEnd:
    def __init__(self, mel_conf, campplus_path):
        self.mel_conf = mel_conf
        self.sample_rate = mel_conf["rate"]
        self.campplus_session = open_session(campplus_path)

    def extract_speech_feat(self, audio, audio_sr):
        """Return (mel of shape (1, T, n_mels), its length of shape (1,))."""
        audio = resample_audio(audio, audio_sr, self.sample_rate)
        mel = mel_spectrogram(audio, **self.mel_conf).transpose(1, 2).contiguous()
        return mel, torch.tensor([mel.shape[1]], dtype=torch.int32)

    def extract_spk_embedding(self, audio, audio_sr):
        """Return the voice as one vector, (1, D)."""
        audio = resample_audio(audio, audio_sr, SPEAKER_RATE)
        feats = kaldi.fbank(audio, num_mel_bins=80, dither=0, sample_frequency=SPEAKER_RATE)
        feats = feats - feats.mean(dim=0, keepdim=True)
        (name,) = (i.name for i in self.campplus_session.get_inputs())
        return torch.from_numpy(self.campplus_session.run(None, {name: feats[None].numpy()})[0])
