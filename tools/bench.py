"""Speed as ratios, each measured inside one run on one machine: `make bench` (`MINIAI_FULL=1 make bench`: with all images). Nothing here is a test."""
import statistics, subprocess, sys
from functools import partial
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np, torch, torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR
from torcheval.metrics import MulticlassAccuracy

from miniai.accel import MixedPrecision, fast_dtype
from miniai.conv import conv
from miniai.core import def_device, set_seed, to_cpu, to_device
from miniai.data import fashion_mnist
from miniai.datasets import DataLoaders, inplace, load_fashion_mnist
from miniai.learner import Accuracy, Callback, CancelEpochException, DeviceCB, Learner, MetricsCB, TrainLearner
from miniai.resnet import get_resnet, summary
from miniai.sgd import BatchSchedCB
from miniai.unet import EmbUNetModel


def interleaved(a, b, tries=9, turns=1):
    "Ratio of the time of `a` to that of `b`, each the sum of so many turns: median and the spread of the middle half"
    a(), b()                                                    # the first steps take longer
    ratios = []
    for _ in range(tries):
        times = {a: 0., b: 0.}
        for i in range(turns):
            for f in (a, b) if i % 2 else (b, a):               # whoever comes second finds warmer caches
                start = perf_counter()
                f()
                times[f] += perf_counter()-start
        ratios.append(times[a]/times[b])
    low, mid, high = statistics.quantiles(ratios, n=4)
    return mid, low, high


def small_cnn():
    return nn.Sequential(conv(1,8), conv(8,16), conv(16,32), conv(32,64), conv(64,10,act=False), nn.Flatten())

def overhead(n_batches=50, bs=64):
    "A step of `TrainLearner` with `DeviceCB` and `MetricsCB` over a bare loop that moves the same data and updates the same metric"
    set_seed(1)
    x, y = torch.randint(256, (n_batches*bs,28,28), dtype=torch.uint8), torch.randint(10, (n_batches*bs,))
    dls = DataLoaders.from_arrays(x, y, x[:bs], y[:bs], bs)
    model, metric = small_cnn().to(def_device), MulticlassAccuracy()

    metrics = MetricsCB(accuracy=MulticlassAccuracy())
    metrics._log = lambda d: None
    learn = TrainLearner(model, dls, F.cross_entropy, lr=.01, cbs=[DeviceCB(), metrics])
    def with_learner(): learn.fit(1, valid=False)

    def bare():
        opt = torch.optim.SGD(model.parameters(), .01)
        model.train()
        metric.reset()
        for batch in dls.train:
            xb, yb = to_device(batch)
            preds = model(xb)
            loss = F.cross_entropy(preds, yb)
            loss.backward()
            opt.step()
            opt.zero_grad()
            metric.update(to_cpu(preds), to_cpu(yb))
        metric.compute()
    return interleaved(with_learner, bare, turns=20)


def import_cost():
    "A fresh Python that imports `miniai.learner` over one that imports `torch`"
    def fresh(module): return lambda: subprocess.run([sys.executable, '-c', f'import {module}'], check=True)
    return interleaved(fresh('miniai.learner'), fresh('torch'), turns=2)


def two_routes(bs):
    "The same images: from memory, and one at a time from the Hub's format through a transform"
    x, y, xt, yt = fashion_mnist()
    memory = DataLoaders.from_arrays(x, y, xt, yt, bs, device=def_device)
    mean, std = x.mean(dtype=float)/255, x.std(dtype=float)/255

    @inplace
    def normalised(b): b['image'] = [(torch.tensor(np.asarray(o))[None]/255 - mean)/std for o in b['image']]
    dd = {k: v.with_transform(normalised) for k,v in load_fashion_mnist().items()}
    return memory, DataLoaders.from_dd(dd, bs)


class TimesCB(Callback):
    "Seconds of each epoch of training; validates after the last only"
    order = 1
    def before_fit  (self, learn): self.seconds = []
    def before_epoch(self, learn):
        if not learn.training and learn.epoch < learn.n_epochs-1: raise CancelEpochException
        self.start = perf_counter()
    def after_epoch (self, learn):
        if learn.training: self.seconds.append(perf_counter()-self.start)


def network(last):
    set_seed(1)
    return get_resnet().to(def_device, memory_format=torch.channels_last if last else torch.contiguous_format)

def trained(dls, dtype, last, epochs, top=.01):
    "Seconds of each epoch, and accuracy on the test images, of 14's network after a one-cycle training"
    metrics, times = MetricsCB(accuracy=Accuracy()), TimesCB()
    metrics._log = lambda d: None
    sched = BatchSchedCB(partial(OneCycleLR, max_lr=top, total_steps=epochs*len(dls.train)))
    Learner(network(last), dls, F.cross_entropy, lr=top, cbs=[MixedPrecision(dtype=dtype), DeviceCB(), metrics, times, sched],
            opt_func=partial(torch.optim.AdamW, weight_decay=.1)).fit(epochs)
    return times.seconds, metrics.history[-1]['accuracy']


def batches_of(dl):
    "Batches for ever"
    while True: yield from dl

def stepper(dl, dtype, last):
    "A function that does one training step, with the next batch"
    model, batches = network(last), batches_of(dl)
    opt, cast = torch.optim.AdamW(model.parameters()), torch.autocast(def_device, dtype=dtype, enabled=dtype != torch.float32)
    scaler = torch.amp.GradScaler(def_device, enabled=dtype == torch.float16)
    def step():
        xb, yb = (o.to(def_device) for o in next(batches))
        with cast: loss = F.cross_entropy(model(xb), yb)
        scaler.scale(loss).backward()
        scaler.step(opt); scaler.update(); opt.zero_grad()
        loss.item()                                              # waits for the card
    return step

def in_turns(steps, n):
    "Seconds of n single steps of each of several functions, in turns"
    for f in steps: f(); f()                                     # the first take longer
    times = [[] for _ in steps]
    for _ in range(n):
        for f,t in zip(steps, times):
            start = perf_counter()
            f()
            t.append(perf_counter()-start)
    return times


def fast_training(
    epochs:int=5, # of each of the two trainings
    bs:int=256,   # images in a batch
    n:int=20,     # single steps that are timed
)->tuple:         # time of the slow training over that of the fast one: median of the epochs, and the quarters
    "14's network by one-cycle: images one at a time in float32, against memory, the fastest precision and channels-last; the ratio taken apart by cause"
    memory, one_by_one = two_routes(bs)
    full, fast = torch.float32, fast_dtype()
    stages = {'images one at a time, float32': (one_by_one.train, full, False), 'images from memory': (memory.train, full, False),
              f'precision, {fast}': (memory.train, fast, False), 'channels-last': (memory.train, fast, True)}
    if fast == full: stages.pop(f'precision, {fast}')            # float32 is the fastest here
    mids = [statistics.median(t) for t in in_turns([stepper(*o) for o in stages.values()], n)]
    for name,a,b in zip(list(stages)[1:], mids, mids[1:]): print(f'  {name}: {a/b:.2f} times as fast')
    print(f'  together: {mids[0]/mids[-1]:.2f} times as fast, from {n} single steps of each')

    (slow_secs, acc_slow), (fast_secs, acc_fast) = trained(one_by_one, full, False, epochs), trained(memory, fast, True, epochs)
    print(f'  {epochs} epochs of {len(memory.train)} batches of {bs}: accuracy {acc_slow:.4f} slow, {acc_fast:.4f} fast; whole training {sum(slow_secs)/sum(fast_secs):.2f} times as fast')
    ratios = [a/b for a,b in zip(slow_secs, fast_secs)]
    low, mid, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios*3
    return mid, low, high


def unet_pair(nfs, attn_start, n_in):
    "Our U-Net, and Diffusers' of the same channels, layers and attention"
    from diffusers import UNet2DModel
    attn   = ['Attn' if i >= attn_start else '' for i in range(len(nfs))]
    theirs = UNet2DModel(in_channels=n_in, out_channels=n_in, block_out_channels=nfs, layers_per_block=1, norm_num_groups=8,
                         attention_head_dim=32, resnet_time_scale_shift='scale_shift',
                         down_block_types=[f'{o}DownBlock2D' for o in attn], up_block_types=[f'{o}UpBlock2D' for o in attn[::-1]])
    return EmbUNetModel(n_in, n_in, nfs, attn_chans=32, attn_start=attn_start).to(def_device), theirs.to(def_device)

def unets(n=64):
    "Forward and backward pass of 28's U-Net over that of Diffusers' `UNet2DModel`: on patches as in 28, and at three levels"
    for nfs,attn_start,n_in,side in ((32,64,128), 2, 1, 28), ((32,64), 1, 4, 14):
        pair = unet_pair(nfs, attn_start, n_in)
        x, t = torch.randn(n, n_in, side, side, device=def_device), torch.zeros(n, device=def_device)
        def step(model):
            out = model(x, t)
            getattr(out, 'sample', out).square().mean().backward()
            if def_device == 'cuda': torch.cuda.synchronize()
        res = interleaved(*(partial(step, m) for m in pair), turns=2)
        madds, params = ([summary(m, x[:1], t[:1]).madds for m in pair], [sum(p.numel() for p in m.parameters()) for m in pair])
        print(f'  channels {nfs} at {side} x {side}: {res[0]:.3f} of the time, with {params[0]/params[1]:.3f} of the parameters '
              f'and {madds[0]/madds[1]:.3f} of the multiply-adds (one block less at the bottom)')
    return res


def pipelines(n=9, steps=25):
    "A batch of pictures by 34's pipeline over that of Diffusers on the same folder: DDIM, guidance, the same latents"
    from diffusers import StableDiffusionPipeline
    from miniai.core import _assets
    from miniai.stable_diffusion import load_tiny_sd
    ours   = load_tiny_sd()
    theirs = StableDiffusionPipeline.from_pretrained(_assets()/'tiny-stable-diffusion', torch_dtype=torch.float32).to(def_device)
    theirs.set_progress_bar_config(disable=True)
    prompts, z = ['a small red star above a large blue house at night']*n, torch.randn(n, 4, 16, 16, device=def_device)
    def mine():  return ours.pictures(prompts, progress=False, steps=steps, guidance=4., latents=z)
    def other(): return 2*theirs(prompts, num_inference_steps=steps, guidance_scale=4., latents=z, output_type='pt').images-1
    print(f'  largest difference of a pixel: {(mine()-other()).abs().max()*127.5:.3f}/255')
    times = []
    def timed():
        start = perf_counter()
        mine()
        if def_device == 'cuda': torch.cuda.synchronize()
        times.append(perf_counter()-start)
    res = interleaved(timed, other, tries=5)
    print(f'  {statistics.median(times)/n:.3f} seconds a picture (at most .25 on two free cores)')
    return res


benches = {'import miniai.learner over import torch (at most 2)': import_cost,
           'a step of TrainLearner over a bare loop (at most 1.03)': overhead,
           'five epochs of the residual network, images one at a time in float32, over the fast way (at least 3)': fast_training,
           "a training step of 28's U-Net over that of Diffusers' UNet2DModel of the same channels (at most 1)": unets,
           "a batch of pictures by 34's pipeline over Diffusers' StableDiffusionPipeline (at most .83)": pipelines}

if __name__ == '__main__':
    print(f'{def_device}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}; median of nine in turns, and the middle half')
    for name,f in benches.items():
        mid, low, high = f()
        print(f'{name}: {mid:.3f} ({low:.3f} to {high:.3f})')
