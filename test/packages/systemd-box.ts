/**
 * A throw-away copy of this machine that runs systemd, for tests that install packages. What happens in it leaves no trace on the
 * machine: its root is an overlay in memory. Needs root, and no container engine. The network is the machine's.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { hasProgram } from "../support/debian.ts";
import { until } from "../support/until.ts";

export interface SystemdBox {
  /** Runs a program and resolves with its status and output, both streams together. Never rejects. */
  run(program: string, ...args: string[]): Promise<Result>;
  /** The standard output of a program that must succeed. */
  read(program: string, ...args: string[]): Promise<string>;
  /** Path of a file of the box for the tests. */
  path(file: string): string;
  /** Ends all of its processes. */
  close(): Promise<void>;
}

export interface Result {
  readonly status: number;
  readonly output: string;
}

const SCRIPT = join(import.meta.dirname, "systemd-box.sh");

/** Resolves with why this machine cannot do it, as a text. */
export async function openBox(): Promise<SystemdBox | string> {
  if (process.getuid?.() !== 0) return "only root can start a copy of the machine";
  const leftOut = "the tests of the Debian package";
  if (!hasProgram("/lib/systemd/systemd", ["systemd"], leftOut)) return "systemd is missing";
  if (!hasProgram("adduser", ["adduser"], leftOut)) return "adduser is missing";
  // Not in the system's temporary folder, which the box replaces.
  const folder = mkdtempSync("/var/tmp/ct-box-");
  const group = basename(folder);
  // Ends with the tests, even when they are killed.
  const withTests = ["--pdeathsig", "KILL", "unshare", "--mount", "--uts", "--ipc"];
  const child = spawn("setpriv", [...withTests, "sh", SCRIPT, folder, group], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const kill = (): boolean => child.kill("SIGKILL");
  process.once("exit", kill);
  let problems = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    problems += text;
  });
  const ended = once(child, "exit");
  let isEnded = false;
  void ended.then(() => {
    isEnded = true;
  });

  const run = (program: string, ...args: string[]): Promise<Result> =>
    enter(childOf(child.pid ?? 0), program, args);
  async function close(): Promise<void> {
    process.off("exit", kill);
    // Its child, process 1 of the box, is killed with it, and with that all others.
    kill();
    if (!isEnded) await ended;
    await removeGroup(group);
    rmdirSync(folder);
  }

  try {
    await until(
      "systemd runs",
      async () => {
        if (isEnded) return true;
        const { output } = await run("systemctl", "is-system-running");
        return output.trim() === "running" || output.trim() === "degraded";
      },
      20_000,
    );
  } catch (error) {
    problems += String(error);
  }
  if (isEnded || problems !== "") {
    await close();
    return `no copy of the machine with systemd: ${problems.trim()}`;
  }
  return {
    run,
    async read(program, ...args) {
      const { status, output } = await run(program, ...args);
      if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${status}\n${output}`);
      return output;
    },
    path: (file) => join("/proc", String(childOf(child.pid ?? 0)), "root", file),
    close,
  };
}

function enter(pid: number, program: string, args: readonly string[]): Promise<Result> {
  const namespaces = ["--mount", "--pid", "--uts", "--ipc", "--cgroup"];
  const path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
  const inside = ["env", "-i", path, "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"];
  return new Promise((resolve) => {
    execFile(
      "nsenter",
      ["--target", String(pid), ...namespaces, ...inside, program, ...args],
      { encoding: "utf8" },
      (error, stdout, stderr) => {
        const status = error === null ? 0 : typeof error.code === "number" ? error.code : 1;
        resolve({ status, output: stdout + stderr });
      },
    );
  });
}

/** Process 1 of the box: the only child of the process that was started. */
function childOf(pid: number): number {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  const [child] = children.split(" ");
  if (!child) throw new Error("the box has no process 1");
  return Number(child);
}

/** The control groups of the box, which the kernel keeps. */
async function removeGroup(group: string): Promise<void> {
  const script = `mount -t cgroup2 none /mnt && cd /mnt && [ ! -d "$0" ] || find "$0" -depth -type d -exec rmdir {} +`;
  await until("the control groups of the box are removed", async () => {
    const result = await new Promise<boolean>((resolve) => {
      execFile("unshare", ["--mount", "sh", "-c", script, group], (error) =>
        resolve(error === null),
      );
    });
    return result;
  });
}

/** Makes Node available as Debian's package `nodejs` would, where the machine has its Node from elsewhere. */
export async function provideNode(box: SystemdBox): Promise<void> {
  const { output } = await box.run("dpkg", "--status", "nodejs");
  const version = /^Version: (.*)$/m.exec(output)?.[1] ?? "0";
  const isNew = await box.run("dpkg", "--compare-versions", version, "ge", "20.19");
  if (isNew.status === 0) return;
  process.stderr.write("the Debian package is tested with a stand-in for the package nodejs\n");
  const control = `Package: nodejs\nVersion: ${process.versions.node}\nArchitecture: all\nMaintainer: test\nDescription: stand-in\n`;
  await box.read("mkdir", "-p", "/tmp/nodejs/DEBIAN", "/tmp/nodejs/usr/bin");
  writeFileSync(box.path("/tmp/nodejs/DEBIAN/control"), control);
  writeFileSync(box.path("/tmp/nodejs/usr/bin/node"), readFileSync(process.execPath), {
    mode: 0o755,
  });
  await box.read("dpkg-deb", "-Znone", "--build", "/tmp/nodejs", "/tmp/nodejs.deb");
  await box.read("dpkg", "--force-overwrite", "-i", "/tmp/nodejs.deb");
}
