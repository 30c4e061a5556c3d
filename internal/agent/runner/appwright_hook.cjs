// Loaded into every node process of a test run by NODE_OPTIONS=--require. It keeps AppWright from installing drivers and
// starting or killing Appium, and points its sessions at the agent's own Appium and device. AppWright has no setting for
// any of that, so this leans on private names: each is looked for, noted in the handshake file, and missed loudly.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const util = require('node:util');
const Module = require('node:module');
const childProcess = require('node:child_process');

const settings = process.env.QGJOB_APPWRIGHT_HOOK;
if (settings) install(JSON.parse(fs.readFileSync(settings, 'utf8')));

function install(config) {
  const seen = new Set();
  const note = (entry) => fs.appendFileSync(config.handshake, JSON.stringify({ pid: process.pid, ...entry }) + '\n');

  // A file of AppWright's dist, and what is done to its exports. "need" names the private names it cannot do without.
  const patches = {
    'providers/appium.js': {
      need: (m) => ({ installDriver: m.installDriver, startAppiumServer: m.startAppiumServer }),
      apply(m) {
        m.installDriver = async () => {};
        m.startAppiumServer = async () => ({ kill: () => true, on() {}, once() {} });
        replace(m, 'stopAppiumServer', async () => {});
        replace(m, 'isEmulatorInstalled', async () => true);
        replace(m, 'getActiveAndroidDevices', async () => 1);
        replace(m, 'getApkDetails', async () => ({ packageName: config.package, launchableActivity: config.activity }));
        replace(m, 'getAppBundleId', async () => config.package);
      },
    },
    'providers/emulator/index.js': provider('EmulatorProvider'),
    'providers/local/index.js': provider('LocalDeviceProvider'),
    'providers/browserstack/index.js': cloudProvider('BrowserStackDeviceProvider'),
    'device/index.js': {
      need: () => ({}),
      apply(m, root) {
        if (!m.Device || !m.Device.prototype.close) return;
        if (config.cloud) sessionEnds(m.Device.prototype);
        pictureOfFailure(m.Device.prototype, root);
      },
    },
  };

  // A project that wants other devices than this agent's is told so before its first test.
  function elsewhere(proto, name) {
    const agents = config.cloud ? 'sessions of BrowserStack' : 'a device of its own';
    proto.globalSetup = proto.createConfig = () => {
      throw new Error(`qgjob: the project asks for AppWright's ${name}, but this agent has ${agents}; choose another one by --appwright-project`);
    };
  }

  function cloudProvider(name) {
    const proto = (m) => (m[name] && m[name].prototype) || {};
    return {
      need: (m) => (config.cloud ? { [`${name}.createConfig`]: proto(m).createConfig, [`${name}.createDriver`]: proto(m).createDriver } : {}),
      apply(m) {
        const p = proto(m);
        if (!config.cloud) return elsewhere(p, name);
        // 0.1.1 knows an uploaded app by this variable only.
        const upload = (self) => (process.env[`BROWSERSTACK_APP_URL_${self.project.name.toUpperCase()}`] = config.cloud.App);
        p.globalSetup = async function () {
          upload(this);
        };
        const own = p.createConfig;
        p.createConfig = function () {
          upload(this);
          const session = own.apply(this, arguments);
          return session && typeof session.then === 'function' ? session.then(toCloud) : toCloud(session);
        };
        const create = p.createDriver;
        p.createDriver = async function () {
          try {
            return await create.apply(this, arguments);
          } finally {
            if (this.sessionId) journal({ session: this.sessionId });
          }
        };
        toOtherAPI();
      },
    };
  }

  function toCloud(session) {
    if (!session || typeof session.capabilities !== 'object' || session.capabilities === null) {
      throw new Error('qgjob: AppWright made a session without capabilities; the hook does not fit this version');
    }
    if (config.cloud.Server) Object.assign(session, config.cloud.Server);
    session.capabilities['appium:app'] = config.cloud.App;
    const options = session.capabilities['bstack:options'];
    if (options) Object.assign(options, { sessionName: config.cloud.Name, buildName: config.cloud.Build });
    note({ event: 'session', port: session.port });
    return session;
  }

  function journal(entry) {
    fs.appendFileSync(config.cloud.Journal, JSON.stringify(entry) + '\n');
  }

  function sessionEnds(proto) {
    const close = proto.close;
    proto.close = async function () {
      const id = this.webdriverClient && this.webdriverClient.sessionId;
      await close.apply(this, arguments);
      if (id) journal({ ended: id });
    };
  }

  // AppWright has the address of BrowserStack's API in its source.
  function toOtherAPI() {
    const usual = 'https://api-cloud.browserstack.com/app-automate';
    const fetch = globalThis.fetch;
    if (config.cloud.API === usual || !fetch) return;
    globalThis.fetch = (url, ...rest) => fetch(typeof url === 'string' && url.startsWith(usual) ? config.cloud.API + url.slice(usual.length) : url, ...rest);
  }

  function provider(name) {
    const proto = (m) => (m[name] && m[name].prototype) || {};
    return {
      need: (m) => (config.cloud ? {} : { [name]: m[name], [`${name}.createConfig`]: proto(m).createConfig }),
      apply(m) {
        if (config.cloud) return elsewhere(proto(m), name);
        const own = proto(m).createConfig;
        // The agent has looked at the build and the device; AppWright would ask for an Android SDK.
        if (proto(m).globalSetup) proto(m).globalSetup = async () => {};
        proto(m).createConfig = async function createConfig() {
          return redirect(await own.apply(this, arguments));
        };
      },
    };
  }

  function redirect(session) {
    if (!session || typeof session.capabilities !== 'object' || session.capabilities === null) {
      throw new Error('qgjob: AppWright made a session without capabilities; the hook does not fit this version');
    }
    Object.assign(session, config.server);
    for (const name of config.drop) delete session.capabilities[name];
    Object.assign(session.capabilities, config.set);
    note({ event: 'session', udid: session.capabilities['appium:udid'], port: session.port });
    return session;
  }

  // The session's end stops the app, so the screen of a failure is photographed before it.
  function pictureOfFailure(proto, root) {
    const close = proto.close;
    proto.close = async function () {
      try {
        const info = require(require.resolve('@playwright/test', { paths: [root] })).test.info();
        if (info.status !== info.expectedStatus) {
          const file = info.outputPath('screen-at-failure.png');
          await fs.promises.mkdir(path.dirname(file), { recursive: true });
          await fs.promises.writeFile(file, Buffer.from(await this.webdriverClient.takeScreenshot(), 'base64'));
          await info.attach('screen at failure', { path: file, contentType: 'image/png' });
          await fs.promises.rm(file); // attach has made a copy
        }
      } catch {
        // A picture is a courtesy: without one the failure is the same.
      }
      return close.apply(this, arguments);
    };
  }

  function patch(file, exported, root) {
    const name = path.relative(path.join(root, 'dist'), file).split(path.sep).join('/');
    const plan = patches[name];
    if (!plan || seen.has(file)) return;
    seen.add(file);
    const missing = Object.entries(plan.need(exported)).filter(([, f]) => typeof f !== 'function').map(([n]) => n);
    const version = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')).version;
    note({ event: missing.length ? 'misfit' : 'patched', file: name, version, missing });
    if (missing.length) {
      throw new Error(`qgjob: AppWright ${version} has no ${missing.join(', ')} in ${name}; run the agent with --appwright-mode=stock`);
    }
    plan.apply(exported, root);
  }

  function replace(m, name, f) {
    if (typeof m[name] === 'function') m[name] = f;
  }

  const load = Module._load;
  Module._load = function (request, parent, isMain) {
    const exported = load.apply(this, arguments);
    const root = parent && parent.filename && rootOf(parent.filename);
    if (!root || !request.startsWith('.')) return exported;
    let file;
    try {
      file = Module._resolveFilename(request, parent, isMain);
    } catch {
      return exported;
    }
    if (rootOf(file) === root) patch(file, exported, root);
    return exported;
  };

  // What AppWright does behind the names above shows here.
  const watch = (own) =>
    function (command, args) {
      const line = [command, ...(Array.isArray(args) ? args : [])].join(' ').slice(0, 200);
      if (/^\s*(npx\s+(\S+\s+)*?appium\b|appium\b|pkill\b.*appium)/.test(line)) {
        note({ event: 'escaped', command: line });
        throw new Error(`qgjob: "${line}" was kept from running: Appium is the agent's own`);
      }
      return own.apply(this, arguments);
    };
  for (const name of ['spawn', 'exec', 'execFile', 'spawnSync', 'execSync', 'execFileSync']) {
    const own = childProcess[name];
    const promised = own[util.promisify.custom];
    childProcess[name] = watch(own);
    if (promised) childProcess[name][util.promisify.custom] = watch(promised);
  }
}

// The folder of the AppWright package that a file belongs to, or null.
function rootOf(file) {
  const at = file.lastIndexOf(`${path.sep}appwright${path.sep}dist${path.sep}`);
  return at < 0 ? null : file.slice(0, at + `${path.sep}appwright`.length);
}
