"""Speed as ratios, each measured inside one run on one machine: `make bench`. Nothing here is a test."""
import statistics, subprocess, sys
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch, torch.nn.functional as F
from torch import nn
from torcheval.metrics import MulticlassAccuracy

from miniai.conv import conv
from miniai.core import def_device, set_seed, to_cpu, to_device
from miniai.datasets import DataLoaders
from miniai.learner import DeviceCB, MetricsCB, TrainLearner


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


benches = {'import miniai.learner over import torch (at most 2)': import_cost,
           'a step of TrainLearner over a bare loop (at most 1.03)': overhead}

if __name__ == '__main__':
    print(f'{def_device}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}; median of nine in turns, and the middle half')
    for name,f in benches.items():
        mid, low, high = f()
        print(f'{name}: {mid:.3f} ({low:.3f} to {high:.3f})')
