// The file of a value below /proc/sys.

/** @param key path below /proc/sys, of letters, digits and `_./@:-`. @throws TypeError for anything else, and for `..` */
export function sysctlFile(key: string): string {
  if (!/^[A-Za-z0-9_./@:-]+$/.test(key) || key.includes("..")) {
    throw new TypeError(`"${key}" is no path of a sysctl`);
  }
  return `/proc/sys/${key}`;
}
