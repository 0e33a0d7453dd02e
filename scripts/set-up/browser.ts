/**
 * @file The browsers of the specs: the one that `CHROME_PATH` or `FIREFOX_PATH` names, else the one that is installed, else
 * one that is brought: Debian's package where this process may install packages, else a build of the browser's maker in
 * the per-user cache.
 */
import {accessSync, constants, existsSync, readFileSync, statSync} from 'node:fs';
import {homedir} from 'node:os';
import {join} from 'node:path';
import {setTimeout} from 'node:timers/promises';
import {
  Browser,
  canDownload,
  computeExecutablePath,
  detectBrowserPlatform,
  install,
} from '@puppeteer/browsers';
import {cacheFolder, publishFolder} from '../../lib/provision/cache.js';
import {recentFailure, rememberFailure} from '../../lib/provision/failures.js';
import {lastLines, runCommand} from '../../lib/provision/processes/command.js';
import {withLock} from '../../lib/provision/processes/lock.js';
import {findProgram} from '../../lib/provision/processes/programs.js';
import {say} from './repository.mjs';

export type BrowserName = 'chrome' | 'firefox';

interface BrowserKind {
  /** The variable of the environment that names its program. */
  readonly variable: string;
  /** Its programs on PATH, the first that is there is taken. */
  readonly programs: readonly string[];
  /** Where macOS and Windows have it. */
  readonly places: readonly string[];
  readonly debianPackage: string;
  /** The build that puppeteer-core 24.43 was made for, as its `PUPPETEER_REVISIONS` say. */
  readonly build: string;
}

const WINDOWS_FOLDERS = ['PROGRAMFILES', 'PROGRAMFILES(X86)', 'LOCALAPPDATA'].flatMap(
  (name) => process.env[name] ?? [],
);

const KINDS: Readonly<Record<BrowserName, BrowserKind>> = {
  chrome: {
    variable: 'CHROME_PATH',
    programs: ['chromium', 'google-chrome', 'google-chrome-stable', 'chrome'],
    places: [
      '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
      '/Applications/Chromium.app/Contents/MacOS/Chromium',
      join(homedir(), 'Applications/Google Chrome.app/Contents/MacOS/Google Chrome'),
      ...WINDOWS_FOLDERS.map((folder) => join(folder, 'Google', 'Chrome', 'Application', 'chrome.exe')),
    ],
    debianPackage: 'chromium',
    build: '148.0.7778.97',
  },
  firefox: {
    variable: 'FIREFOX_PATH',
    programs: ['firefox-esr', 'firefox'],
    places: [
      '/Applications/Firefox.app/Contents/MacOS/firefox',
      ...WINDOWS_FOLDERS.map((folder) => join(folder, 'Mozilla Firefox', 'firefox.exe')),
    ],
    debianPackage: 'firefox-esr',
    build: 'stable_150.0.2',
  },
};

const INSTALL_MS = 10 * 60_000;
/** A host that does not answer at all must not hold every start. */
const REACH_MS = 10_000;

/**
 * The program of a browser that is there; nothing is installed.
 *
 * @returns Its full path, undefined if there is none.
 * @throws {Error} If `CHROME_PATH` or `FIREFOX_PATH` names no program.
 */
export function findBrowser(name: BrowserName): string | undefined {
  const {variable, programs, places} = KINDS[name];
  const named = process.env[variable];
  if (named) {
    if (isProgram(named)) return named;
    throw new Error(`${variable} is ${named}, which is no program: name a browser's, or unset it`);
  }
  return findProgram(programs) ?? [...places, ...cachedProgram(name)].find(isProgram);
}

/** Brings the browsers that are missing, or says in one line why not; the specs in that browser are then skipped. */
export async function ensureBrowsers(): Promise<void> {
  for (const name of ['chrome', 'firefox'] as const) {
    if (findBrowser(name) !== undefined) continue;
    const {variable} = KINDS[name];
    const reason = await bringUnlessRecent(name);
    if (reason === undefined) continue;
    say(
      `going on without the specs in ${name}, since there is none: ${reason}. What would help: install one, or set ${variable}`,
    );
  }
}

/** Brings a browser unless that has failed within the hour; gives why there is none, if so. */
async function bringUnlessRecent(name: BrowserName): Promise<string | undefined> {
  if (process.env.TFJS_SPARSIFY_PROVISION === 'off') return 'TFJS_SPARSIFY_PROVISION=off';
  const cache = cacheFolder();
  const recent = recentFailure(cache, name);
  if (recent !== undefined) return recent.reason;
  const reason = await withLock(join(cache, `${name}.lock`), () => bring(name), {
    what: `another process that brings ${name}`,
    log: say,
  });
  if (reason !== undefined) await rememberFailure(cache, name, {reason, help: ''});
  return reason;
}

/** Tries the ways to a browser one after another; gives why the last one failed, if all did. */
async function bring(name: BrowserName): Promise<string | undefined> {
  if (findBrowser(name) !== undefined) return undefined; // another process was faster
  const reasons = [];
  if (maySetUpDebian()) {
    const {debianPackage} = KINDS[name];
    say(`installing Debian's ${debianPackage} for the specs in a browser`);
    const reason = await installDebian(debianPackage);
    if (reason === undefined) return undefined;
    reasons.push(reason);
  }
  const reason = await download(name);
  return reason === undefined ? undefined : [...reasons, reason].join('; ');
}

/** Ubuntu has a package of that name too, which starts another packager that containers do not have. */
function maySetUpDebian(): boolean {
  if (process.getuid?.() !== 0 || findProgram(['apt-get']) === undefined) return false;
  return existsSync('/etc/os-release') && /^ID=debian$/m.test(readFileSync('/etc/os-release', 'utf8'));
}

/** Gives why the package could not be installed, if so. */
async function installDebian(debianPackage: string): Promise<string | undefined> {
  const env = {...process.env, DEBIAN_FRONTEND: 'noninteractive'};
  const options = {env, timeoutMs: INSTALL_MS};
  const install = ['install', '--yes', '--no-install-recommends', debianPackage];
  let result = await runCommand('apt-get', install, options);
  if (result.code !== 0) {
    // An image has no lists of packages, or old ones.
    await runCommand('apt-get', ['update'], options);
    result = await runCommand('apt-get', install, options);
  }
  return result.code === 0 ? undefined : `apt-get install ${debianPackage}: ${lastLines(result)}`;
}

/** Fetches the build that puppeteer-core was made for; gives why that failed, if so. */
async function download(name: BrowserName): Promise<string | undefined> {
  const platform = detectBrowserPlatform();
  if (platform === undefined) return `there is no build of ${name} for ${process.platform} ${process.arch}`;
  const build = {browser: BROWSERS[name], buildId: KINDS[name].build, platform};
  const unanswered = setTimeout(REACH_MS, false, {ref: false});
  if (!(await Promise.race([canDownload({...build, cacheDir: cachedFolder(name)}), unanswered]))) {
    return `the host of its downloads cannot be reached`;
  }
  say(`downloading ${name} ${build.buildId} for the specs in a browser`);
  try {
    await publishFolder(cachedFolder(name), async (partial) => {
      await install({...build, cacheDir: partial});
    });
    return undefined;
  } catch (error) {
    return `its download failed: ${(error as Error).message.split('\n')[0]}`;
  }
}

const BROWSERS = {chrome: Browser.CHROME, firefox: Browser.FIREFOX};

/** Where {@link download} puts a browser. */
function cachedFolder(name: BrowserName): string {
  return join(cacheFolder(), 'browsers', `${name}-${KINDS[name].build}`);
}

/** The program in {@link cachedFolder}, if the browser's maker has builds for this platform. */
function cachedProgram(name: BrowserName): string[] {
  if (detectBrowserPlatform() === undefined) return [];
  const build = {browser: BROWSERS[name], buildId: KINDS[name].build, cacheDir: cachedFolder(name)};
  return [computeExecutablePath(build)];
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
