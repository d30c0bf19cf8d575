/**
 * Creates plugins of all three IDE families, as real archives, and malformed archives.
 */
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { buffer } from "node:stream/consumers";
import { crc32 } from "node:zlib";
import yazl from "yazl";

/** Name of an entry to its contents. */
export type Entries = Readonly<Record<string, string | Buffer>>;

export async function zip(
  entries: Entries,
  options: { readonly compress?: boolean; readonly stored?: Entries | undefined } = {},
): Promise<Buffer> {
  const file = new yazl.ZipFile();
  for (const [name, contents] of Object.entries(options.stored ?? {})) {
    file.addBuffer(Buffer.from(contents), name, { compress: false });
  }
  for (const [name, contents] of Object.entries(entries)) {
    file.addBuffer(Buffer.from(contents), name, { compress: options.compress ?? true });
  }
  file.end();
  return buffer(file.outputStream);
}

/** Writes a file below `folder` and creates missing folders. */
export function put(folder: string, name: string, contents: string | Buffer): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, contents);
  return path;
}

export interface VsixOptions {
  readonly publisher?: string;
  readonly name?: string;
  readonly version?: string;
  readonly targetPlatform?: string;
  readonly preRelease?: boolean;
  readonly displayName?: string;
  readonly description?: string;
  readonly tags?: string;
  readonly categories?: string;
  readonly icon?: Buffer;
  /** Replace or extend the usual entries. */
  readonly entries?: Entries;
  /** Additional entries, not compressed. */
  readonly stored?: Entries;
}

/** An extension of VS Code, as its packaging tool creates it. */
export function vsix(options: VsixOptions = {}): Promise<Buffer> {
  const { publisher = "acme", name = "collab", version = "1.0.0" } = options;
  const { displayName = "Collab", description = "Works together", icon } = options;
  const platform =
    options.targetPlatform === undefined ? "" : ` TargetPlatform="${options.targetPlatform}"`;
  const manifest = `<?xml version="1.0" encoding="utf-8"?>
<PackageManifest Version="2.0.0" xmlns="http://schemas.microsoft.com/developer/vsx-schema/2011">
  <Metadata>
    <Identity Language="en-US" Id="${name}" Version="${version}" Publisher="${publisher}"${platform} />
    <DisplayName>${escapeXml(displayName)}</DisplayName>
    <Description xml:space="preserve">${escapeXml(description)}</Description>
    <Tags>${options.tags ?? "pair,live"}</Tags>
    <Categories>${options.categories ?? "Other"}</Categories>
    <Properties>
      <Property Id="Microsoft.VisualStudio.Code.Engine" Value="^1.80.0" />
      ${options.preRelease === true ? '<Property Id="Microsoft.VisualStudio.Code.PreRelease" Value="true" />' : ""}
    </Properties>
  </Metadata>
  <Installation><InstallationTarget Id="Microsoft.VisualStudio.Code"/></Installation>
  <Assets>
    <Asset Type="Microsoft.VisualStudio.Code.Manifest" Path="extension/package.json" Addressable="true" />
    <Asset Type="Microsoft.VisualStudio.Services.Content.Details" Path="extension/README.md" Addressable="true" />
    ${icon === undefined ? "" : '<Asset Type="Microsoft.VisualStudio.Services.Icons.Default" Path="extension/icon.png" Addressable="true" />'}
  </Assets>
</PackageManifest>`;
  const entries = {
    "extension.vsixmanifest": manifest,
    "[Content_Types].xml": "<Types/>",
    "extension/package.json": JSON.stringify({
      name,
      publisher,
      version,
      engines: { vscode: "^1.80.0" },
    }),
    "extension/README.md": `# ${displayName}`,
    ...(icon !== undefined && { "extension/icon.png": icon }),
    ...options.entries,
  };
  return zip(entries, { stored: options.stored });
}

export interface PluginOptions {
  readonly id?: string;
  readonly name?: string;
  readonly version?: string;
  readonly since?: string;
  readonly until?: string;
  /** Additional elements of the descriptor. */
  readonly more?: string;
  readonly icon?: string;
}

export function pluginXml(options: PluginOptions = {}): string {
  const { id = "com.acme.collab", name = "Collab", version = "1.0" } = options;
  const since = options.since === undefined ? "" : ` since-build="${options.since}"`;
  const until = options.until === undefined ? "" : ` until-build="${options.until}"`;
  return `<idea-plugin><id>${id}</id><name>${escapeXml(name)}</name><version>${version}</version>
<idea-version${since}${until}/><vendor email="a@example.com" url="https://example.com">Acme</vendor>
<description><![CDATA[<b>Works</b> together]]></description><change-notes><![CDATA[more & better]]></change-notes>
<depends>com.intellij.modules.platform</depends><depends optional="true">Git4Idea</depends>${options.more ?? ""}</idea-plugin>`;
}

export function pluginJar(options: PluginOptions = {}): Promise<Buffer> {
  return zip({
    "META-INF/MANIFEST.MF": "Manifest-Version: 1.0\n",
    "META-INF/plugin.xml": pluginXml(options),
    ...(options.icon !== undefined && { "META-INF/pluginIcon.svg": options.icon }),
  });
}

/** A plugin as its build creates it: one folder, with the descriptor in one of several jars. */
export async function pluginZip(
  options: PluginOptions & { readonly compress?: boolean; readonly entries?: Entries } = {},
): Promise<Buffer> {
  const { compress = true } = options;
  return zip(
    {
      "collab/lib/annotations-13.0.jar": await zip({ "org/A.class": "cafebabe" }),
      "collab/lib/collab-core.jar": await pluginJar(options),
      ...options.entries,
    },
    { compress },
  );
}

export async function putRepository(
  folder: string,
  options: { readonly version?: string; readonly properties?: string } = {},
): Promise<void> {
  const { version = "1.2.3.v2030", properties = "" } = options;
  const artifacts = `<?xml version="1.0"?><?artifactRepository version="1.1.0"?>
<repository name="Acme" type="org.eclipse.equinox.p2.artifact.repository.simpleRepository" version="1">
<properties size="1"><property name="p2.compressed" value="true"/>${properties}</properties>
<artifacts size="1"><artifact classifier="osgi.bundle" id="com.acme.collab.core" version="${version}"/></artifacts>
</repository>`;
  put(folder, "p2.index", "version=1\nmetadata.repository.factory.order=content.xml,!\n");
  put(folder, "content.jar", await zip({ "content.xml": "<repository/>" }));
  put(folder, "artifacts.jar", await zip({ "artifacts.xml": artifacts }));
  const feature = `<feature id="com.acme.collab" label="Collab" version="${version}"/>`;
  put(folder, `features/com.acme.collab_${version}.jar`, await zip({ "feature.xml": feature }));
  for (const id of ["com.acme.collab.core", "com.acme.collab.ui"]) {
    put(folder, `plugins/${id}_${version}.jar`, await zip({ "META-INF/MANIFEST.MF": id }));
  }
}

function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

// --- malformed archives ---

/** The same archive with its entries marked as encrypted (bit 0 of the flags, in both headers of each). */
export function encrypted(archive: Buffer): Buffer {
  const copy = Buffer.from(archive);
  for (const [signature, offset] of [
    [0x04034b50, 6],
    [0x02014b50, 8],
  ] as const) {
    for (let at = 0; at + offset + 2 <= copy.length; at++) {
      if (copy.readUInt32LE(at) !== signature) continue;
      copy.writeUInt16LE(copy.readUInt16LE(at + offset) | 1, at + offset);
    }
  }
  return copy;
}

/** An archive with an entry of zeros that unpacks to `bytes`. */
export async function bomb(bytes: number, name = "extension/zeros"): Promise<Buffer> {
  const file = new yazl.ZipFile();
  const { PassThrough } = await import("node:stream");
  const zeros = new PassThrough();
  file.addReadStream(zeros, name, { compress: true });
  file.end();
  const packed = buffer(file.outputStream);
  const chunk = Buffer.alloc(1024 * 1024);
  for (let written = 0; written < bytes; written += chunk.length) {
    if (!zeros.write(chunk)) await once(zeros, "drain");
  }
  zeros.end();
  return packed;
}

/**
 * The archive with every `from` replaced by `to`, mainly in names of entries, because our zip library refuses to write names
 * that other tools write. Both have the same number of bytes.
 */
export function respelled(archive: Buffer, from: string, to: string): Buffer {
  const copy = Buffer.from(archive);
  const [wanted, replacement] = [Buffer.from(from), Buffer.from(to)];
  if (wanted.length !== replacement.length) throw new Error(`${from} and ${to} differ in length`);
  for (let at = copy.indexOf(wanted); at !== -1; at = copy.indexOf(wanted, at + 1)) {
    replacement.copy(copy, at);
  }
  return copy;
}

/** An archive whose entries (`name(0)`, `name(1)` …) share the same stored bytes: small, but with a very large content. */
export function overlapping(count: number, name: (index: number) => string, bytes: Buffer): Buffer {
  const local = Buffer.alloc(30);
  local.writeUInt32LE(0x04034b50, 0);
  local.writeUInt32LE(crc32(bytes), 14);
  local.writeUInt32LE(bytes.length, 18);
  local.writeUInt32LE(bytes.length, 22);
  const list = Array.from({ length: count }, (_, index) => {
    const text = Buffer.from(name(index));
    const head = Buffer.alloc(46);
    head.writeUInt32LE(0x02014b50, 0);
    local.copy(head, 16, 14, 26);
    head.writeUInt16LE(text.length, 28);
    return Buffer.concat([head, text]);
  });
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(count, 8);
  end.writeUInt16LE(count, 10);
  end.writeUInt32LE(Buffer.concat(list).length, 12);
  end.writeUInt32LE(local.length + bytes.length, 16);
  return Buffer.concat([local, bytes, ...list, end]);
}
