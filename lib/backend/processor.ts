/** @file What the processor can do, as far as it matters for matrix kernels. */
import {readFileSync} from 'node:fs';
import {availableParallelism, cpus} from 'node:os';

/** A processor. */
export interface Processor {
  readonly model: string;
  /** Logical cores that this process may use. */
  readonly threads: number;
  /** Instruction sets, by the kernel's names, out of those that matrix kernels use; empty if not known. */
  readonly features: readonly string[];
}

/** Flags of Linux's /proc/cpuinfo, x86-64 and ARM. */
const FEATURES = [
  ...[
    'sse4_2',
    'avx',
    'avx2',
    'fma',
    'f16c',
    'avx_vnni',
    'avx512f',
    'avx512bw',
    'avx512_vnni',
    'avx512_bf16',
  ],
  ...['avx512_fp16', 'amx_tile', 'amx_int8', 'amx_bf16'],
  ...['asimd', 'asimddp', 'asimdhp', 'i8mm', 'bf16', 'sve', 'sve2'],
];

/** Describes the processor of this machine. */
export function describeProcessor(): Processor {
  const flags = new Set(kernelFlags());
  return {
    model: cpus()[0]?.model.trim() ?? 'unknown',
    threads: availableParallelism(),
    features: FEATURES.filter((feature) => flags.has(feature)),
  };
}

function kernelFlags(): string[] {
  try {
    const line = /^(?:flags|Features)\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'));
    return line === null ? [] : line[1].trim().split(/\s+/);
  } catch {
    // Only Linux has the file.
    return [];
  }
}
