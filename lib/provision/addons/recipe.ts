/**
 * @file What is particular to an addon: what is compiled and how, where the result lies, what its working depends on, and
 * how it is tried. provide-addon.ts does the same with every one of them.
 */

/** Command-line arguments of a compiler. */
type Arguments = readonly string[];

/** An addon for one node package on this machine. */
export interface AddonRecipe {
  /** What it is, as a part of messages: `native kernels`. */
  readonly what: string;
  /** That it is not built, as a sentence. */
  readonly missing: string;
  /** The command that builds it. */
  readonly command: string;
  /** How long building it takes, for the log: `about 1 min`. What takes some seconds is not told. */
  readonly takes?: string;
  /** What programs do where there is no such addon, for the log. */
  readonly without: string;

  /** Name of its proofs in the cache. */
  readonly kind: string;
  /** Folder in the cache in which builds lie, one folder each; addons of one folder are built one at a time. */
  readonly folder: string;
  /** Changes with the result: sources, flags, what it is linked to. */
  readonly version: string;
  /** File name. */
  readonly file: string;

  /** Folder of the sources. */
  readonly sources: string;
  /** What is compiled, in this order, from `sources`. */
  readonly units: readonly string[];
  /** A unit that is compiled before all others, since it may have to do without something. */
  readonly doubtful?: DoubtfulUnit;
  /** Finds the compiler: the program with its first arguments. Throws a ProvisionError if it is missing. */
  readonly compiler: () => Arguments;
  /** For one unit; `-c`, its name and the output are added. */
  readonly compileFlags: (unit: string) => Arguments;
  /** Behind the objects. */
  readonly linkFlags: Arguments;
  /** Compilers at a time, where their memory limits it; otherwise one for each core. */
  readonly mostCompilers?: number;
  readonly compileTimeoutMs: number;
  /** What the compiler must be, for the error: `g++ 9 or newer`. */
  readonly compilerAdvice: string;

  /** What the addon's working depends on beside its own file: `fingerprint.ts` says what counts. */
  readonly dependsOn: {readonly texts: readonly string[]; readonly files: readonly string[]};
  /** How it is tried. */
  readonly trial: AddonTrial;
}

/** A unit that is compiled against what may be missing, or other than is known. */
export interface DoubtfulUnit {
  readonly unit: string;
  /** Added to its flags. */
  readonly compileFlags: Arguments;
  /** Added to the flags of the linker if it compiles with `compileFlags`; without them it always compiles. */
  readonly linkFlags: Arguments;
  /** A file that must be there; otherwise it is not attempted. */
  readonly header: string;
  /** What it is to do without, for the log. */
  readonly without: string;
}

/** A program that loads the addon beside its node package and computes with it. */
interface AddonTrial {
  /** Gets the main file of the package and the addon. */
  readonly program: URL;
  readonly packageFolder: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly timeoutMs: number;
}

/** That a machine needs no such addon, or may not have one, and why. */
export interface NoAddon {
  readonly reason: string;
}

/** Gives the recipe for a node package, which must load. */
export type AddonRecipeFor = (beside: AddonPlace) => AddonRecipe | NoAddon | Promise<AddonRecipe | NoAddon>;

/** Where an addon is to be of use, and where it is kept. */
export interface AddonPlace {
  /** Folder of the installed node package. */
  readonly packageFolder: string;
  /** The per-user cache. */
  readonly cache: string;
}
