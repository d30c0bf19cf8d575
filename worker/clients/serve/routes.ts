/**
 * The routes below /clients: the page, the files, and the protocol of each family of IDEs. Paths must not change: IDEs and
 * scripts that count downloads in access logs rely on them (ARCHITECTURE.md).
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { parseJson } from "../../http/bodies.ts";
import { type Origins, placeOf } from "../../http/origins.ts";
import { pageHeaders, readStyle } from "../../http/pages.ts";
import { type Refuse, sendCsv, textResponse } from "../../http/responses.ts";
import type { MethodsOf } from "../../http/routes.ts";
import type { RequireOperator } from "../../operators/require-operator.ts";
import type { Clients } from "../clients.ts";
import { downloadsCsv } from "../downloads.ts";
import { ArchiveError } from "../formats/archive.ts";
import { extensionId, type IntellijArtifact, type VscodeArtifact } from "../formats/artifact.ts";
import { findInside } from "../formats/folder.ts";
import { bundleOf, countsAsDownload } from "../formats/p2.ts";
import type { Offer } from "../formats/scan.ts";
import { readVsixAsset } from "../formats/vsix.ts";
import { createFileSender, type SendFile, sendDocument, sendSandboxed, typeOf } from "./files.ts";
import { type Context, createGallery, PACKAGE_ASSET, querySchema } from "./gallery.ts";
import { clientsPage } from "./page.ts";
import { createUpdateList } from "./update-plugins.ts";

interface Deps {
  readonly app: FastifyInstance;
  /** Undefined when the area is turned off (CT_NOCLIENTS). */
  readonly clients: Clients | undefined;
  readonly requireOperator: RequireOperator;
  readonly origins: Pick<Origins, "preflightFields">;
  readonly refuse: Refuse;
  readonly methodsOf: MethodsOf;
  readonly settings: { readonly serverUrl: string | undefined; readonly serverOwner: string };
}

type Area = Deps & { readonly clients: Clients; readonly sendFile: SendFile };

const NOT_FOUND = textResponse(404, "No such plugin");
const TURNED_OFF = textResponse(404, "This server does not offer plugins (CT_NOCLIENTS is set)");
const STYLE = readStyle("clients.css");
/** An update check for a thousand extensions sends 100 KiB. */
const MAX_QUERY_BYTES = 1024 * 1024;
/** The largest are readme files with embedded images. */
const MAX_ASSET_BYTES = 8 * 1024 * 1024;
const ICON_ASSET = "Microsoft.VisualStudio.Services.Icons.Default";

export function addClientsRoutes(deps: Deps): void {
  const { clients } = deps;
  if (clients === undefined) {
    for (const path of ["/clients", "/clients/*"]) {
      deps.app.all(path, (_request, reply) => deps.refuse(reply, "path", TURNED_OFF));
    }
    return;
  }
  void deps.app.register(async (app) => {
    app.addHook("onRequest", () => clients.catalog.ready());
    const area = { ...deps, clients, app, sendFile: createFileSender() };
    addPage(area);
    addDownloads(area);
    addVscode(area);
    addIntellij(area);
    addEclipse(area);
  });
}

// --- the page ---

function addPage({ app, clients, settings }: Area): void {
  const { catalog } = clients;
  const headers = pageHeaders(settings);

  const page = (request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const { baseUrl, basePath } = placeOf(request.raw, settings.serverUrl);
    const body = clientsPage({
      offer: catalog.offer,
      companion: clients.companion.state,
      baseUrl,
      basePath,
      owner: settings.serverOwner,
      digestOf: catalog.digestOf,
      iconOf: (artifact) => iconPath(artifact, basePath),
    });
    return sendDocument(reply.headers(headers), { type: "text/html; charset=utf-8", body });
  };
  app.get("/clients", page);
  app.get("/clients/clients.css", (_request, reply) =>
    sendDocument(reply.headers(headers), { type: "text/css; charset=utf-8", body: STYLE }),
  );
}

function iconPath(
  artifact: VscodeArtifact | IntellijArtifact,
  basePath: string,
): string | undefined {
  if (artifact.ide === "vscode") {
    const hasIcon = artifact.assets[ICON_ASSET] !== undefined;
    return hasIcon ? `${basePath}${assetsPath(artifact)}/${ICON_ASSET}` : undefined;
  }
  const name = encodeURIComponent(artifact.file.name);
  return artifact.icon === undefined ? undefined : `${basePath}/clients/icons/${name}`;
}

function addDownloads({ app, clients, requireOperator }: Area): void {
  app.get("/clients/downloads.csv", async (_request, reply) => {
    if ((await requireOperator(reply, "read")) === undefined) return reply;
    return sendCsv(reply, "downloads.csv", downloadsCsv(await clients.downloads.read()));
  });
}

// --- VS Code and compatible IDEs ---

interface VersionRoute {
  readonly Params: {
    readonly publisher: string;
    readonly name: string;
    readonly version: string;
  };
  readonly Querystring: { readonly targetPlatform?: unknown };
}

interface AssetRoute extends VersionRoute {
  readonly Params: VersionRoute["Params"] & { readonly platform: string; readonly type: string };
}

const GALLERY = "/clients/vscode/gallery";
/** Headers that browser-based IDEs send with their queries. */
const GALLERY_HEADERS =
  "content-type, x-market-client-id, x-market-user-id, x-market-search-activity-id, x-client-name, x-client-version, x-client-commit, x-machine-id, vscode-sessionid";

function addVscode(area: Area): void {
  const { app, clients, origins, refuse, methodsOf, sendFile, settings } = area;
  const { catalog } = clients;
  const gallery = memoize(({ vscode }) => createGallery(vscode));
  const contextOf = (request: FastifyRequest): Context => {
    const { baseUrl } = placeOf(request.raw, settings.serverUrl);
    return {
      assetsUrl: (extension) => baseUrl + assetsPath(extension),
      downloads: clients.downloads.totals("vscode"),
    };
  };

  app.get<{ Params: { file: string } }>("/clients/vscode/:file", (request, reply) => {
    const { file } = request.params;
    const found = catalog.offer.vscode.find((extension) => extension.file.name === file);
    return found ? sendPackage(reply, found, found.file.name) : refuse(reply, "path", NOT_FOUND);
  });

  void app.register(async (bodies) => {
    parseJson(bodies);
    bodies.post(`${GALLERY}/extensionquery`, { bodyLimit: MAX_QUERY_BYTES }, (request, reply) => {
      const query = querySchema.safeParse(request.body);
      if (!query.success) {
        return refuse(reply, "query", textResponse(400, "Invalid gallery query"));
      }
      return gallery(catalog.offer).query(query.data, contextOf(request));
    });
  });

  app.get<VersionRoute>(`${GALLERY}/vscode/:publisher/:name/latest`, (request, reply) => {
    const { publisher, name } = request.params;
    const latest = gallery(catalog.offer).latest(publisher, name, contextOf(request));
    return latest ?? refuse(reply, "path", NOT_FOUND);
  });

  const versionPath = `${GALLERY}/publishers/:publisher/vsextensions/:name/:version/vspackage`;
  app.get<VersionRoute>(versionPath, (request, reply) => {
    const targetPlatform = textOf(request.query.targetPlatform);
    const found = gallery(catalog.offer).find({ ...request.params, targetPlatform });
    return found ? sendPackage(reply, found, packageName(found)) : refuse(reply, "path", NOT_FOUND);
  });

  const assetPath = `${GALLERY}/assets/:publisher/:name/:version/:platform/:type`;
  app.get<AssetRoute>(assetPath, async (request, reply) => {
    const { platform, type, ...version } = request.params;
    const targetPlatform = textOf(request.query.targetPlatform) ?? platform;
    const found = gallery(catalog.offer).find({ ...version, targetPlatform });
    if (found === undefined) return refuse(reply, "path", NOT_FOUND);
    if (type === PACKAGE_ASSET) return sendPackage(reply, found, packageName(found));
    const entry = Object.hasOwn(found.assets, type) ? found.assets[type] : undefined;
    const body = entry === undefined ? undefined : await readAsset(found.file.path, entry);
    if (entry === undefined || body === undefined) return refuse(reply, "path", NOT_FOUND);
    return sendSandboxed(reply, { type: typeOf(entry), body });
  });

  app.options(`${GALLERY}/*`, (request, reply) => {
    const methods = methodsOf(request.raw.url ?? "");
    if (methods === undefined) return refuse(reply, "path", NOT_FOUND);
    reply.headers(origins.preflightFields(methods));
    return reply.header("access-control-allow-headers", GALLERY_HEADERS).send();
  });

  // Installation statistics of clients are ignored: downloads are counted when they are served.
  const ignoreStats = (_request: FastifyRequest, reply: FastifyReply) => reply.code(204).send();
  app.post(`${GALLERY}/publishers/:publisher/extensions/:name/:version/stats`, ignoreStats);
  app.post(
    `${GALLERY}/itemName/:item/version/:version/statType/:type/vscodewebextension`,
    ignoreStats,
  );

  function sendPackage(reply: FastifyReply, extension: VscodeArtifact, saveAs: string) {
    const { path, name } = extension.file;
    const onStart = () =>
      clients.downloads.count("vscode", extensionId(extension), extension.version);
    return sendFile(reply, { path, type: typeOf(name), saveAs, onStart });
  }
}

function packageName(extension: VscodeArtifact): string {
  const { version, targetPlatform } = extension;
  const platform = targetPlatform === "universal" ? "" : `@${targetPlatform}`;
  return `${extensionId(extension)}-${version}${platform}.vsix`;
}

/** Undefined when the archive does not have it, or it cannot be read. */
async function readAsset(path: string, entry: string): Promise<Buffer | undefined> {
  try {
    return await readVsixAsset(path, entry, MAX_ASSET_BYTES);
  } catch (error) {
    if (error instanceof ArchiveError) return undefined;
    throw error;
  }
}

function assetsPath({ publisher, name, version, targetPlatform }: VscodeArtifact): string {
  const parts = [publisher, name, version, targetPlatform].map(encodeURIComponent);
  return `${GALLERY}/assets/${parts.join("/")}`;
}

// --- JetBrains ---

interface ListRoute {
  readonly Querystring: { readonly build?: unknown };
}

function addIntellij({ app, clients, refuse, sendFile, settings }: Area): void {
  const { catalog, downloads } = clients;
  const find = (file: string): IntellijArtifact | undefined =>
    catalog.offer.intellij.find((plugin) => plugin.file.name === file);
  const list = memoize(({ intellij }) => createUpdateList(intellij));

  app.get<ListRoute>("/clients/intellij/updatePlugins.xml", (request, reply) => {
    const { baseUrl } = placeOf(request.raw, settings.serverUrl);
    const folderUrl = `${baseUrl}/clients/intellij/`;
    const body = list(catalog.offer).xml(textOf(request.query.build), folderUrl);
    return sendDocument(reply, { type: "application/xml; charset=utf-8", body });
  });

  app.get<{ Params: { file: string } }>("/clients/intellij/:file", (request, reply) => {
    const plugin = find(request.params.file);
    if (plugin === undefined) return refuse(reply, "path", NOT_FOUND);
    const { path, name } = plugin.file;
    const onStart = () => downloads.count("intellij", plugin.id, plugin.version);
    return sendFile(reply, { path, type: typeOf(name), saveAs: name, onStart });
  });

  app.get<{ Params: { file: string } }>("/clients/icons/:file", (request, reply) => {
    const plugin = find(request.params.file);
    return plugin?.icon === undefined
      ? refuse(reply, "path", NOT_FOUND)
      : sendSandboxed(reply, { type: "image/svg+xml", body: plugin.icon });
  });
}

// --- Eclipse ---

function addEclipse({ app, clients, refuse, sendFile }: Area): void {
  const { catalog, downloads } = clients;

  app.get<{ Params: { "*": string } }>("/clients/eclipse/*", async (request, reply) => {
    const { eclipse } = catalog.offer;
    const name = request.params["*"];
    const path = eclipse && (await findInside(eclipse.folder, name));
    if (eclipse === undefined || path === undefined) return refuse(reply, "path", NOT_FOUND);
    const bundle = bundleOf(name);
    const isCounted = bundle !== undefined && countsAsDownload(bundle.id, eclipse.bundles);
    const onStart = isCounted
      ? () => downloads.count("eclipse", bundle.id, bundle.version)
      : undefined;
    return sendFile(reply, { path, type: typeOf(name), onStart });
  });
}

// --- helpers ---

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function memoize<T>(make: (offer: Offer) => T): (offer: Offer) => T {
  let last: { readonly offer: Offer; readonly made: T } | undefined;
  return (offer) => {
    if (last?.offer !== offer) last = { offer, made: make(offer) };
    return last.made;
  };
}
