// The language server in VS Code: starts `freezelint server`, and asks it to trace or verify the file at hand.
const vscode = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

async function activate(context) {
  const [command, ...args] = vscode.workspace.getConfiguration("freezelint").get("command", ["freezelint", "server"]);
  client = new LanguageClient("freezelint", "freezelint", { command, args }, {
    documentSelector: [
      { language: "python", scheme: "file" },
      { language: "python", scheme: "vscode-notebook-cell" },
    ],
    diagnosticPullOptions: { onChange: true, onSave: true },
  });
  for (const witness of ["trace", "verify"]) {
    context.subscriptions.push(
      vscode.commands.registerCommand(`freezelint.${witness}File`, () => ask(`freezelint.${witness}`)),
    );
  }
  await client.start();
}

async function ask(command) {
  const editor = vscode.window.activeTextEditor;
  if (!editor) return undefined;
  await editor.document.save();
  const uri = (editor.document.notebook ?? editor.document).uri.toString();
  const report = await client.sendRequest("workspace/executeCommand", { command, arguments: [uri] });
  client.outputChannel.appendLine(report);
  client.outputChannel.show(true);
  return report;
}

async function deactivate() {
  await client?.stop();
}

module.exports = { activate, deactivate };
