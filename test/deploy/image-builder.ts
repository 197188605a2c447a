// Builds images of deploy/Dockerfile without a registry or a daemon, with Debian's buildah, and runs programs in them as a container runtime
// does. The base is made of this machine's Node and the few programs that the Dockerfile's own steps call.

import { execFile } from "node:child_process";
import {
  copyFileSync,
  cpSync,
  globSync,
  mkdirSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { locateProgramWithLibraries } from "../control-plane/binaries.ts";
import { type ChildProgram, startProgram } from "../control-plane/child-program.ts";

const run = promisify(execFile);
const baseImage = "localhost/node:base";

/** buildah, and the libraries that a machine may lack. */
const packages = [
  "buildah",
  "libdevmapper1.02.1",
  "libgpgme11",
  "libassuan0",
  "libgpg-error0",
  "libseccomp2",
] as const;

/** False where images can be built, else the reason, ready for the `skip` option of a test. */
export async function reasonToSkipImages(): Promise<string | false> {
  if (process.getuid?.() !== 0) return "images are built and mounted as root";
  try {
    await run("unshare", ["--mount", "mount", "-t", "tmpfs", "none", "/mnt"]);
  } catch (error) {
    return `nothing can be mounted here: ${String((error as { stderr?: string }).stderr ?? error).trim()}`;
  }
  const buildah = await locateProgramWithLibraries("buildah", packages, "usr/bin/buildah");
  return buildah.kind === "found" ? false : `no image can be built: ${buildah.because}`;
}

/** What an image says about the programs in it. */
export type Image = {
  /** Its files. */
  readonly root: string;
  readonly user: string;
  readonly env: readonly string[];
  readonly entrypoint: readonly string[];
};

/** Builds images and keeps them in one folder. */
export class ImageBuilder {
  readonly #folder: string;
  readonly #buildah: string;

  private constructor(folder: string, buildah: string) {
    this.#folder = folder;
    this.#buildah = buildah;
  }

  /**
   * Prepares the base.
   * @param folder of its own; whoever gave it removes it
   * @throws where {@link reasonToSkipImages} has a reason
   */
  static async open(folder: string): Promise<ImageBuilder> {
    const buildah = await locateProgramWithLibraries("buildah", packages, "usr/bin/buildah");
    if (buildah.kind === "missing") throw new Error(buildah.because);
    const builder = new ImageBuilder(folder, buildah.file);
    writeFileSync(join(folder, "registries.conf"), "");
    writeFileSync(
      join(folder, "policy.json"),
      JSON.stringify({ default: [{ type: "insecureAcceptAnything" }] }),
    );
    // The build's own steps run without the variable that says where the libraries are.
    const program = join(dirname(buildah.file), "..");
    const libraries = globSync("{lib,usr/lib}/*-linux-gnu", { cwd: program });
    writeFileSync(
      join(folder, "libraries.conf"),
      [...libraries.map((path) => join(program, path)), "include /etc/ld.so.conf", ""].join("\n"),
    );
    await run("/sbin/ldconfig", [
      "-f",
      join(folder, "libraries.conf"),
      "-C",
      join(folder, "libraries"),
    ]);
    const base = join(folder, "base");
    await fillBase(base);
    writeFileSync(
      join(folder, "Base"),
      "FROM scratch\nCOPY . /\nENV PATH=/usr/local/bin:/usr/bin:/bin\n",
    );
    await builder.#call("build", "--tag", baseImage, "--file", join(folder, "Base"), base);
    return builder;
  }

  /**
   * Builds one target.
   * @param dockerfile its text
   * @param context the folder that COPY reads
   */
  async build(dockerfile: string, target: string, context: string): Promise<Image> {
    const file = join(this.#folder, "Dockerfile");
    writeFileSync(file, dockerfile);
    const image = `localhost/${target}:test`;
    const arg = `NODE_IMAGE=${baseImage}`;
    await this.#call(
      ...["build", "--build-arg", arg, "--file", file, "--target", target, "--tag", image],
      context,
    );
    const { OCIv1 } = JSON.parse(await this.#call("inspect", "--type=image", image)) as {
      readonly OCIv1: {
        readonly config: {
          readonly User?: string;
          readonly Env: readonly string[];
          readonly Entrypoint: readonly string[];
        };
      };
    };
    const container = (await this.#call("from", "--pull=never", image)).trim();
    const root = (await this.#call("mount", container)).trim();
    const { User: user = "", Env: env, Entrypoint: entrypoint } = OCIv1.config;
    return { root, user, env, entrypoint };
  }

  async #call(command: string, ...args: readonly string[]): Promise<string> {
    const folder = this.#folder;
    // Only this program and its children see these libraries.
    const script = 'mount --bind "$0" /etc/ld.so.cache && exec "$@"';
    const pulls =
      command === "build" ? ["--pull=never", `--signature-policy=${folder}/policy.json`] : [];
    const { stdout } = await run(
      "unshare",
      [
        ...["--mount", "sh", "-c", script, join(folder, "libraries"), this.#buildah],
        ...["--root", join(folder, "images"), "--runroot", join(folder, "run")],
        ...["--storage-driver=vfs", `--registries-conf=${folder}/registries.conf`],
        ...[command, ...pulls, ...args],
      ],
      {
        env: {
          PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
          HOME: folder,
          TMPDIR: folder,
          BUILDAH_ISOLATION: "chroot",
        },
        maxBuffer: 2 ** 26,
      },
    );
    return stdout;
  }
}

/** Node, the shell and what the Dockerfile calls, with their libraries; `apt-get` writes down what it was to install. */
async function fillBase(base: string): Promise<void> {
  for (const folder of ["usr/local/bin", "usr/bin", "tmp", "proc", "dev", "etc"]) {
    mkdirSync(join(base, folder), { recursive: true });
  }
  symlinkSync("usr/bin", join(base, "bin"));
  const programs = ["/bin/sh", "/usr/bin/env", "/bin/rm"].map((file) => realpathSync(file));
  const names = ["sh", "env", "rm"];
  for (const [index, file] of programs.entries()) {
    copyFileSync(file, join(base, "usr/bin", names[index] ?? ""));
  }
  const node = realpathSync(process.execPath);
  copyFileSync(node, join(base, "usr/local/bin/node"));
  writeFileSync(join(base, "usr/bin/apt-get"), '#!/bin/sh\necho "$@" >> /apt-get.log\n', {
    mode: 0o755,
  });
  const { stdout } = await run("ldd", [node, ...programs]);
  for (const [library] of stdout.matchAll(/\/\S+\.so\S*/g)) {
    const file = library.replace(/:$/, "");
    mkdirSync(join(base, dirname(file)), { recursive: true });
    cpSync(realpathSync(file), join(base, file));
  }
}

/**
 * Starts a program of an image as the manifests ask for it: found by the image's PATH, without root, without new rights, on a root that
 * cannot be written. It has this machine's network.
 * @param command in place of the image's entrypoint
 */
export function startInImage(
  image: Image,
  options: {
    readonly command?: readonly string[];
    readonly args: readonly string[];
    readonly user: string;
    readonly logFile: string;
  },
): ChildProgram {
  const { command = image.entrypoint, args, user, logFile } = options;
  const script = [
    'mount --bind "$0" "$0"',
    'mount -o remount,bind,ro "$0"',
    'mount --rbind /proc "$0/proc"',
    'mount --rbind /dev "$0/dev"',
    `exec setpriv --no-new-privs chroot --userspec=${user} --groups= "$0" /usr/bin/env -i "$@"`,
  ].join(" && ");
  return startProgram({
    name: command.join(" "),
    file: "unshare",
    args: ["--mount", "sh", "-c", script, image.root, ...image.env, ...command, ...args],
    logFile,
  });
}
