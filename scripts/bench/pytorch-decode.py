"""Decoding of one token of a model of Llama-2-7B's shape in PyTorch, dense, with random weights: beside `npm run bench -- gpu`.

Prints milliseconds a token, logits brought to the host, without and with a CUDA graph. Usage: python3 pytorch-decode.py
"""

import time

import torch
import torch.nn.functional as F

HIDDEN, LAYERS, HEADS, VOCABULARY, INTERMEDIATE = 4096, 32, 32, 32000, 11008
CONTEXT, TOKENS, ROUNDS = 64, 24, 3


def weights(outputs, inputs, dtype):
    return (torch.rand(outputs, inputs, device="cuda", dtype=dtype) - 0.5) * (12 / inputs) ** 0.5


def layer(dtype):
    size = HIDDEN // HEADS
    made = {name: weights(HIDDEN, HIDDEN, dtype) for name in ("q", "k", "v", "o")}
    made |= {name: weights(INTERMEDIATE, HIDDEN, dtype) for name in ("gate", "up")}
    made["down"] = weights(HIDDEN, INTERMEDIATE, dtype)
    for name in ("norm", "feed_norm"):
        made[name] = torch.ones(HIDDEN, device="cuda", dtype=dtype)
    for name in ("keys", "values"):
        made[name] = torch.randn(1, HEADS, CONTEXT, size, device="cuda", dtype=dtype)
    return made


def turned(x, cos, sin):
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


def measure(dtype):
    size = HIDDEN // HEADS
    layers = [layer(dtype) for _ in range(LAYERS)]
    head = weights(VOCABULARY, HIDDEN, dtype)
    embedded = torch.randn(1, HIDDEN, device="cuda", dtype=dtype)
    cos, sin = (torch.rand(size, device="cuda", dtype=dtype) for _ in range(2))

    def step():
        x = embedded
        for p in layers:
            h = F.rms_norm(x, (HIDDEN,), p["norm"])
            q, k, v = (F.linear(h, p[name]).view(1, HEADS, 1, size) for name in ("q", "k", "v"))
            q, k = turned(q, cos, sin), turned(k, cos, sin)
            p["keys"][:, :, -1:] = k
            p["values"][:, :, -1:] = v
            attended = F.scaled_dot_product_attention(q, p["keys"], p["values"])
            x = x + F.linear(attended.view(1, HIDDEN), p["o"])
            h = F.rms_norm(x, (HIDDEN,), p["feed_norm"])
            x = x + F.linear(F.silu(F.linear(h, p["gate"])) * F.linear(h, p["up"]), p["down"])
        return F.linear(F.rms_norm(x, (HIDDEN,)), head).float()

    def timed(call):
        times = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            for _ in range(TOKENS):
                call().cpu()
            times.append((time.perf_counter() - start) / TOKENS * 1e3)
        return sorted(times)[ROUNDS // 2]

    with torch.cuda.stream(torch.cuda.Stream()):
        for _ in range(3):
            step()
    torch.cuda.synchronize()
    eager = timed(step)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        logits = step()

    def replay():
        graph.replay()
        return logits

    print(f"PyTorch {torch.__version__} {dtype}: {eager:.3f} ms a token, {timed(replay):.3f} in a graph", flush=True)


with torch.no_grad():
    for kind in (torch.float32, torch.bfloat16):
        measure(kind)
        torch.cuda.empty_cache()
