/** @file The frame of setting up a node package of TensorFlow.js: the package itself, then the addons for it. */
import {logLevelAddon} from './addons/log-level.js';
import {provideAddon} from './addons/provide-addon.js';
import type {AddonRecipeFor} from './addons/recipe.js';
import {cacheFolder} from './cache.js';
import {packageFolderOf} from './node-package/package-folder.js';
import {unavailable, type ProvisionOptions, type Provisioned, type SetUp} from './provisioned.js';

/** What differs between the packages. */
export interface NodePackage {
  /** Of the npm package. */
  readonly name: string;
  /** The command that sets the package up. */
  readonly command: string;
  /** With the sparse kernels for it. */
  readonly addon: AddonRecipeFor;
  /** Makes the package load. */
  readonly provisionPackage: (setUp: SetUp) => Promise<Provisioned>;
}

/**
 * Sets a package up, and provides the addons for it once it loads.
 *
 * @returns Never rejects for a machine on which it cannot work.
 */
export async function provisionWithAddons(
  {name, command, addon, provisionPackage}: NodePackage,
  {
    packageFolder = packageFolderOf(name),
    cache = cacheFolder(),
    log = () => {},
    force = false,
  }: ProvisionOptions,
): Promise<Provisioned> {
  if (packageFolder === undefined) {
    return unavailable({
      reason: `the package ${name} is not installed`,
      help: `npm install --ignore-scripts ${name}@4.22.0 && ${command}`,
    });
  }
  const setUp: SetUp = {packageFolder, cache, log, force};
  const result = await provisionPackage(setUp);
  if (result.state !== 'ready' && result.state !== 'provisioned') return result;
  await provideAddon(logLevelAddon, setUp);
  return {...result, native: await provideAddon(addon, setUp)};
}
