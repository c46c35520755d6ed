// A stand-in for VS Code: enough of its API for the real language client to open, edit, fix and hover over one file.
// Usage: node host.js FILE SERVER-COMMAND... ; prints what the user would see as one JSON object.
const fs = require("fs");
const Module = require("module");
const path = require("path");
const { createVSCodeMock } = require("jest-mock-vscode");

const types = createVSCodeMock({ fn: (implementation) => (...args) => implementation?.(...args) });
const plain = (...names) => Object.fromEntries(names.map((name) => [name, class { constructor(...args) { this.args = args; } }]));
const [file, ...serverCommand] = process.argv.slice(2);
const folder = { uri: types.Uri.file(path.dirname(file)), name: "project", index: 0 };
const seen = { diagnostics: [], messages: [], output: "", providers: {}, commands: {} };

class CancellationTokenSource {
  constructor() {
    const emitter = new types.EventEmitter();
    this.token = { isCancellationRequested: false, onCancellationRequested: emitter.event };
    this.cancel = () => { this.token.isCancellationRequested = true; emitter.fire(); };
    this.dispose = () => {};
  }
}

const events = {};
const event = (name) => (events[name] ??= new types.EventEmitter()).event;
const silent = () => new types.Disposable(() => {});

class Document {
  constructor(uri, text) {
    Object.assign(this, { uri, text, version: 1, languageId: "python", fileName: uri.fsPath, isClosed: false, isDirty: false });
  }
  getText() { return this.text; }
  get lineCount() { return this.text.split("\n").length; }
  offset(at) { return this.text.split("\n").slice(0, at.line).reduce((sum, row) => sum + row.length + 1, 0) + at.character; }
  change(range, text) {
    const [start, end] = [this.offset(range.start), this.offset(range.end)];
    this.text = this.text.slice(0, start) + text + this.text.slice(end);
    this.version += 1;
    const contentChanges = [{ range, rangeOffset: start, rangeLength: end - start, text }];
    events.onDidChangeTextDocument.fire({ document: this, contentChanges, reason: undefined });
  }
  async save() {
    fs.writeFileSync(this.fileName, this.text);
    events.onDidSaveTextDocument?.fire(this);
    return true;
  }
}

const document = new Document(types.Uri.file(file), fs.readFileSync(file, "utf8"));
const settings = { command: serverCommand };
const channel = () => ({
  append: (text) => { seen.output += text; }, appendLine: (text) => { seen.output += `${text}\n`; },
  show() {}, clear() {}, dispose() {}, info() {}, warn() {}, error() {}, debug() {}, trace() {}, onDidChangeLogLevel: silent,
});
const vscode = {
  ...types,
  ...plain("TabInputText", "TabInputTextDiff", "TabInputCustom", "TabInputNotebook", "SnippetTextEdit", "RelativePattern",
    "CancellationError", "Hover", "InlayHint", "InlineCompletionItem", "InlineCompletionList", "LinkedEditingRanges"),
  CancellationTokenSource,
  CodeActionTriggerKind: { Invoke: 1, Automatic: 2 },
  NotebookCellKind: { Markup: 1, Code: 2 },
  InlineCompletionTriggerKind: { Invoke: 0, Automatic: 1 },
  Hover: class { constructor(contents, range) { Object.assign(this, { contents, range }); } },
  version: "1.100.0",
  env: { language: "en", appName: "host" },
  l10n: { t: (text) => text },
  extensions: { getExtension: () => undefined },
  workspace: {
    ...Object.fromEntries(["onDidOpenTextDocument", "onDidCloseTextDocument", "onDidChangeTextDocument", "onDidSaveTextDocument",
      "onWillSaveTextDocument", "onDidChangeConfiguration", "onDidChangeWorkspaceFolders", "onDidOpenNotebookDocument",
      "onDidCloseNotebookDocument", "onDidChangeNotebookDocument", "onDidSaveNotebookDocument", "onDidCreateFiles",
      "onDidRenameFiles", "onDidDeleteFiles", "onWillCreateFiles", "onWillRenameFiles", "onWillDeleteFiles",
      "onDidGrantWorkspaceTrust"].map((name) => [name, event(name)])),
    textDocuments: [document],
    notebookDocuments: [],
    workspaceFolders: [folder],
    getWorkspaceFolder: () => folder,
    getConfiguration: () => ({ get: (key, other) => settings[key] ?? other, has: (key) => key in settings, ...settings }),
    createFileSystemWatcher: () => ({ onDidCreate: silent, onDidChange: silent, onDidDelete: silent, dispose() {} }),
    registerTextDocumentContentProvider: silent,
    applyEdit: async () => true,
    fs: {},
  },
  window: {
    activeTextEditor: { document },
    visibleTextEditors: [{ document }],
    tabGroups: { all: [{ tabs: [] }], onDidChangeTabs: silent, onDidChangeTabGroups: silent, activeTabGroup: { tabs: [] } },
    onDidChangeActiveTextEditor: silent,
    onDidChangeVisibleTextEditors: silent,
    createOutputChannel: channel,
    showInformationMessage: async (text) => { seen.messages.push(text); },
    showWarningMessage: async (text) => { seen.messages.push(text); },
    showErrorMessage: async (text) => { seen.messages.push(text); },
    withProgress: (_options, task) => task({ report() {} }, new CancellationTokenSource().token),
  },
  commands: {
    registerCommand: (name, run) => { seen.commands[name] = run; return silent(); },
    executeCommand: (name, ...args) => seen.commands[name](...args),
  },
  languages: {
    match: (selector) => [selector].flat().some((one) => one === "*" || one.language === "python" && (one.scheme ?? "file") === "file") ? 10 : 0,
    createDiagnosticCollection: () => ({
      set: (_uri, found) => { seen.diagnostics = found ?? []; }, get: () => seen.diagnostics,
      has: () => true, delete: () => { seen.diagnostics = []; }, clear: () => { seen.diagnostics = []; }, dispose() {},
    }),
    ...Object.fromEntries(["CodeActions", "Hover"].map((kind) => [`register${kind}Provider`, (_selector, provider) => {
      seen.providers[kind] = provider;
      return silent();
    }])),
  },
};

const load = Module._load;
Module._load = (name, ...rest) => (name === "vscode" ? vscode : load(name, ...rest));

async function until(holds, what) {
  for (let waited = 0; waited < 60000; waited += 20) {
    if (holds()) return true;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`waited in vain until ${what}; ${JSON.stringify(seen.messages)} ${seen.output}`);
}

async function main() {
  const extension = require("./extension.js");
  const token = new CancellationTokenSource().token;
  await extension.activate({ subscriptions: [] });
  await until(() => seen.diagnostics.length === 1, "a finding is shown");
  const [found] = seen.diagnostics;
  const hover = await seen.providers.Hover.provideHover(document, found.range.start, token);
  const context = { diagnostics: [found], triggerKind: 1, only: undefined };
  const actions = await seen.providers.CodeActions.provideCodeActions(document, found.range, context, token);
  const [fix] = actions.filter((action) => action.isPreferred);
  for (const [, edits] of fix.edit.entries()) for (const edit of edits) document.change(edit.range, edit.newText);
  const fixed = await until(() => seen.diagnostics.length === 0, "the fix is seen");
  await document.save();
  const report = process.env.VERIFY ? await seen.commands["freezelint.verifyFile"]() : "";
  await extension.deactivate();
  const shown = { code: String(found.code?.value ?? found.code), line: found.range.start.line, hover: [hover.contents].flat()[0].value.slice(0, 8),
    actions: actions.map((action) => action.title), fixed, commands: Object.keys(seen.commands).sort(), report };
  console.log(JSON.stringify(shown));
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
