"""A generator that breaks its contract is said in a sentence before anything is trained."""

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ppe.config.params import load_study
from ppe.generators import GENERATORS
from ppe.generators.contract import check_generator
from ppe.generators.training.stddev import StddevChannel
from ppe.pipeline.preflight import check_generators


class Generator(nn.Module):
    latent_dim = 4

    def __init__(self, side=32, channels=3, scale=1.0, is_shared=False):
        super().__init__()
        self.shape, self.scale, self.is_shared = (channels, side, side), scale, is_shared
        self.last = nn.Linear(4, channels * side * side)

    def forward(self, z):
        faces = self.last(z - z.mean(0) if self.is_shared else z)
        return faces.unflatten(1, self.shape) * self.scale

    def draw(self, z, draws):
        return self(z)


class Discriminator(nn.Module):
    def __init__(self, answer=lambda logits: (logits, {})):
        super().__init__()
        self.stddev, self.answer = StddevChannel(), answer

    def forward(self, faces, stddev=None):
        return self.answer(faces.mean((1, 2, 3)))


class Deaf(Discriminator):
    """A discriminator that takes no ``stddev``."""

    def forward(self, faces):
        return self.answer(faces.mean((1, 2, 3)))


@pytest.fixture
def check(monkeypatch):
    """A function that registers two modules as the generator ``mine`` and checks them at 32 px."""

    def call(generator, discriminator):
        monkeypatch.setitem(sys.modules, "mine", SimpleNamespace(build=lambda resolution, settings: (generator, discriminator)))
        monkeypatch.setitem(GENERATORS, "mine", "mine")
        check_generator("mine", 32, {})

    return call


def test_what_keeps_the_contract_passes(check):
    check(Generator(), Discriminator())
    check(Generator(), None)


@pytest.mark.parametrize(
    ("generator", "discriminator", "said"),
    [
        (Generator(side=64), Discriminator(), r"latents \[2, 4\] gives \[2, 3, 64, 64\], but \[2, 3, 32, 32\] is needed"),
        (Generator(channels=1), Discriminator(), r"gives \[2, 1, 32, 32\], but"),
        (Generator(scale=float("nan")), Discriminator(), "values that are not finite"),
        (Generator(is_shared=True), Discriminator(), "a face must be a function of its latent"),
        (nn.Identity(), Discriminator(), "its generator has no `latent_dim`"),
        (Generator(), nn.Identity(), "its discriminator has no `stddev`"),
        (Generator(), Discriminator(lambda logits: logits), "gives Tensor, but two values are needed"),
        (Generator(), Discriminator(lambda logits: (logits[:, None], {})), r"gives \[2, 1\], but \[2\] is needed"),
    ],
)
def test_a_broken_contract_is_a_sentence(check, generator, discriminator, said):
    with pytest.raises(ValueError, match=said) as caught:
        check(generator, discriminator)
    assert "\n" not in str(caught.value) and "ppe/generators/mine.py" in str(caught.value)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda resolution, settings: Generator(), "cannot be built, or be asked for a face: TypeError: cannot unpack"),
        (lambda resolution, settings: settings["channels"], "cannot be built, .*: KeyError: 'channels' .ppe/generators/mine.py"),
        (lambda resolution, settings: (Generator(), Deaf()), "TypeError: .*unexpected keyword argument 'stddev'"),
        (lambda resolution, settings: (Generator(), Discriminator(lambda logits: (logits, []))), "gives Tensor and list, but"),
    ],
)
def test_a_generator_that_cannot_be_called_is_a_sentence_too(monkeypatch, build, said):
    monkeypatch.setitem(sys.modules, "mine", SimpleNamespace(build=build))
    monkeypatch.setitem(GENERATORS, "mine", "mine")
    with pytest.raises(ValueError, match=said):
        check_generator("mine", 32, {})


def test_a_trainer_that_lacks_what_the_loop_calls_is_said_before_it_is_called(monkeypatch):
    mine = SimpleNamespace(TRAINER="mine", start_training=None, train_step=None, LOSSES=(), MODULES=(), VALUES=())
    monkeypatch.setitem(sys.modules, "mine", mine)
    monkeypatch.setitem(GENERATORS, "mine", "mine")
    with pytest.raises(ValueError, match=r"its TRAINER has no `KEPT`, which is needed \(ppe/generators/mine.py"):
        check_generator("mine", 32, {})


def test_the_first_stage_checks_the_generators_of_its_own_data_set(root, monkeypatch):
    params, asked = load_study("embedded-stylegan2", root), []
    monkeypatch.setattr("ppe.generators.contract.check_generator", lambda *case: asked.append(case[:2]))
    check_generators(params, "synthetic")
    check_generators(params, "another")
    assert asked == [("stylegan2", 32)]


@pytest.mark.parametrize("family", sorted(GENERATORS))
def test_the_studys_own_generators_keep_it(small, family):
    state = torch.random.get_rng_state()
    check_generator(family, 32, small[family])
    assert torch.equal(torch.random.get_rng_state(), state), "a check moves no random number of the study"
