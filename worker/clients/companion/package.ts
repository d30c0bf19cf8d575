/**
 * The companion: a generated extension for VS Code without code of its own. It depends on Open Collaboration Tools and sets
 * the defaults of that extension's server URL and web client URL to this edge, so that nobody types them. Pure.
 *
 * VS Code applies `configurationDefaults` to settings that another extension declares, unless their scope is `application`
 * or `machine`; `oct.serverUrl` and `oct.webClientUrl` have none, which means `window`. A user's own setting wins.
 */
import type { VscodeArtifact } from "../formats/artifact.ts";
import { extensionId } from "../formats/artifact.ts";
import type { Offer } from "../formats/scan.ts";
import { storedZip } from "./stored-zip.ts";

export interface CompanionContent {
  /** `CT_SERVER_URL`, without a trailing slash. */
  readonly serverUrl: string;
  /** Id of the extension that it configures: `publisher.name`. */
  readonly dependency: string;
}

export const COMPANION_PUBLISHER = "codetogether-edge";
export const COMPANION_NAME = "companion";
export const COMPANION_ID = `${COMPANION_PUBLISHER}.${COMPANION_NAME}`;
/** Raise it with every change of what this file generates: it is the major version of the companion. */
export const TEMPLATE_VERSION = 1;

/** The name of Open Collaboration Tools' extension; operators may publish their own build under another publisher. */
const OCT_NAME = "open-collaboration-tools";
const OCT_ID = `typefox.${OCT_NAME}`;
/** The first one that Open Collaboration Tools supports. */
const ENGINE = "^1.73.0";

export function companionFileName(version: string): string {
  return `${COMPANION_PUBLISHER}-${COMPANION_NAME}-${version}.vsix`;
}

export function isCompanion(extension: Pick<VscodeArtifact, "publisher" | "name">): boolean {
  return extensionId(extension).toLowerCase() === COMPANION_ID;
}

export function isOctExtension({ name }: Pick<VscodeArtifact, "name">): boolean {
  return name.toLowerCase() === OCT_NAME;
}

/** The extension that the companion configures: the offered one, else the public one. */
export function dependencyOf(extensions: readonly VscodeArtifact[]): string {
  const ids = extensions.filter(isOctExtension).map(extensionId).sort();
  return ids.find((id) => id.toLowerCase() === OCT_ID) ?? ids[0] ?? OCT_ID;
}

/** The two settings, as the IDEs get them. */
export function companionSettings({ serverUrl }: Pick<CompanionContent, "serverUrl">) {
  return {
    "oct.serverUrl": serverUrl,
    "oct.webClientUrl": `${serverUrl}/?room=\${roomId}`,
  };
}

/**
 * The offer with the companion among the VS Code extensions. Files of the operator that clash with it are not offered: they
 * may come from another edge, and then they would lead IDEs there.
 */
export function withCompanion(offer: Offer, companion: VscodeArtifact | undefined): Offer {
  const clashing = offer.vscode.filter(
    (extension) => isCompanion(extension) || extension.file.name === companion?.file.name,
  );
  if (companion === undefined && clashing.length === 0) return offer;
  const problems = clashing.map(({ file }) => ({
    file: `vscode/${file.name}`,
    reason:
      "it clashes with the companion extension, which the edge generates itself when CT_SERVER_URL is set: remove or rename the file",
  }));
  const others = offer.vscode.filter((extension) => !clashing.includes(extension));
  return {
    ...offer,
    vscode: companion === undefined ? others : [...others, companion],
    problems: [...offer.problems, ...problems],
  };
}

// --- the archive ---

/** The bytes of the .vsix file: the same for the same content and version. */
export function companionVsix(content: CompanionContent, version: string): Buffer {
  return storedZip([
    { name: "extension.vsixmanifest", content: manifest(content, version) },
    { name: "[Content_Types].xml", content: CONTENT_TYPES },
    { name: "extension/package.json", content: packageJson(content, version) },
    { name: "extension/readme.md", content: readme(content) },
  ]);
}

const DISPLAY_NAME = "Open Collaboration Tools: server settings";

function describe({ serverUrl }: CompanionContent): string {
  return `Makes Open Collaboration Tools use the server ${serverUrl}`;
}

function packageJson(content: CompanionContent, version: string): string {
  const about = {
    name: COMPANION_NAME,
    displayName: DISPLAY_NAME,
    description: describe(content),
    version,
    publisher: COMPANION_PUBLISHER,
    license: "MIT",
    categories: ["Other"],
    engines: { vscode: ENGINE },
    extensionDependencies: [content.dependency],
    contributes: { configurationDefaults: companionSettings(content) },
  };
  return `${JSON.stringify(about, null, 2)}\n`;
}

function readme(content: CompanionContent): string {
  const settings = JSON.stringify(companionSettings(content), null, 2);
  return `# ${DISPLAY_NAME}

${describe(content)}. It contains no code, only the defaults of two settings:

\`\`\`json
${settings}
\`\`\`

A value in your own settings takes precedence.
`;
}

const CONTENT_TYPES = `<?xml version="1.0" encoding="utf-8"?>
<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension=".json" ContentType="application/json"/><Default Extension=".vsixmanifest" ContentType="text/xml"/><Default Extension=".md" ContentType="text/markdown"/></Types>
`;

function manifest(content: CompanionContent, version: string): string {
  return `<?xml version="1.0" encoding="utf-8"?>
<PackageManifest Version="2.0.0" xmlns="http://schemas.microsoft.com/developer/vsx-schema/2011">
  <Metadata>
    <Identity Language="en-US" Id="${COMPANION_NAME}" Version="${version}" Publisher="${COMPANION_PUBLISHER}"/>
    <DisplayName>${escapeXml(DISPLAY_NAME)}</DisplayName>
    <Description xml:space="preserve">${escapeXml(describe(content))}</Description>
    <Tags>collaboration,open-collaboration-tools</Tags>
    <Categories>Other</Categories>
    <GalleryFlags>Public</GalleryFlags>
    <Properties>
      <Property Id="Microsoft.VisualStudio.Code.Engine" Value="${ENGINE}"/>
      <Property Id="Microsoft.VisualStudio.Code.ExtensionDependencies" Value="${escapeXml(content.dependency)}"/>
      <Property Id="Microsoft.VisualStudio.Code.ExecutesCode" Value="false"/>
    </Properties>
  </Metadata>
  <Installation><InstallationTarget Id="Microsoft.VisualStudio.Code"/></Installation>
  <Dependencies/>
  <Assets>
    <Asset Type="Microsoft.VisualStudio.Code.Manifest" Path="extension/package.json" Addressable="true"/>
    <Asset Type="Microsoft.VisualStudio.Services.Content.Details" Path="extension/readme.md" Addressable="true"/>
  </Assets>
</PackageManifest>
`;
}

function escapeXml(text: string): string {
  return text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);
}
