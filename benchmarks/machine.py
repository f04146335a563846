"""The machine, in one line, for the head of every table."""

import platform
from importlib import metadata

import torch


def describe() -> str:
    """Processor, threads, GPU if any, and the versions that matter."""
    capabilities = torch.cpu.get_capabilities()
    name = capabilities.get("cpu_name") or platform.processor() or "unknown processor"
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    versions = f"lesionwise {metadata.version('lesionwise')}, torch {torch.__version__}"
    bf16 = "native bf16" if capabilities.get("avx512_bf16") else "no native bf16"
    return f"{name}, {torch.get_num_threads()} threads, {bf16}, {gpu}; {versions}"
