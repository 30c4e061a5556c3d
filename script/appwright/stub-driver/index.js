// An Appium driver for machines without Android. Sessions, commands and reports are real; the screen is made up, of what
// the real adb client says is installed. With "app" it installs and uninstalls through adb, as uiautomator2 does for
// fullReset. Each session is a line in the journal (QGJOB_STUB_JOURNAL), which is what tests are judged by.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { execFile, spawn } = require('node:child_process');
const { createRequire } = require('node:module');
const { promisify } = require('node:util');

// Appium is not installed beside this file; the one that loads it is the right one.
const { BaseDriver, errors } = createRequire(require.main.filename)('@appium/base-driver');

const journal = process.env.QGJOB_STUB_JOURNAL;
const folder = path.dirname(journal);
const element = 'element-6066-11e4-a52e-4f735466cecf';
const picture =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

const note = (entry) => fs.appendFileSync(journal, JSON.stringify({ at: Date.now(), pid: process.pid, ...entry }) + '\n');

class StubDriver extends BaseDriver {
  constructor(opts, validate) {
    super(opts, validate);
    this.desiredCapConstraints = {};
    this.locatorStrategies = ['xpath', 'id', 'accessibility id', '-android uiautomator'];
    this.found = new Map();
    this.next = 0;
  }

  validateDesiredCaps() {
    return true;
  }

  async createSession(...args) {
    const [id, caps] = await super.createSession(...args);
    this.asked = caps;
    // A test's order: the device that is asked first makes no sessions. (One refusal is not enough: WebDriver asks again.)
    const order = path.join(folder, 'refuse');
    const refuses = fs.existsSync(order) ? fs.readFileSync(order, 'utf8') || caps.udid : '';
    if (refuses === caps.udid) {
      fs.writeFileSync(order, caps.udid);
      note({ event: 'refused', udid: caps.udid });
      await super.deleteSession(id);
      throw new Error('The instrumentation process cannot be initialized within 30000ms timeout');
    }
    if (caps.app && !caps.noReset) {
      await this.adb('uninstall', caps.appPackage).catch(() => {});
      await this.adb('install', caps.app);
    } else if (!caps.noReset) {
      await this.adb('shell', 'pm', 'clear', caps.appPackage);
    }
    // uiautomator2 keeps an adb running for the whole session, too.
    this.watcher = spawn('adb', [...this.adbOptions(), 'track-devices'], { stdio: 'ignore' });
    this.watcher.on('error', () => {});
    const dump = await this.adb('shell', 'dumpsys', 'package', caps.appPackage);
    this.version = (/versionName=(\S+)/.exec(dump) || [])[1] || 'none';
    this.show('home');
    note({
      event: 'session', session: id, udid: caps.udid, version: this.version, app: caps.app, noReset: !!caps.noReset, fullReset: !!caps.fullReset,
      package: caps.appPackage, activity: caps.appActivity, systemPort: caps.systemPort, mjpegServerPort: caps.mjpegServerPort,
      chromedriverPort: caps.chromedriverPort, adbPort: caps.adbPort, suppressKillServer: caps.suppressKillServer,
    });
    return [id, caps];
  }

  async deleteSession(id) {
    if (this.watcher) this.watcher.kill();
    if (this.asked.app && this.asked.fullReset) await this.adb('uninstall', this.asked.appPackage).catch(() => {});
    note({ event: 'end', session: id, udid: this.asked.udid });
    await super.deleteSession(id);
  }

  adbOptions() {
    const { adbPort, udid } = this.asked;
    return [...(adbPort ? ['-P', String(adbPort)] : []), ...(udid ? ['-s', udid] : [])];
  }

  async adb(...args) {
    const { stdout } = await promisify(execFile)('adb', [...this.adbOptions(), ...args]);
    return stdout;
  }

  // The app: three screens, notes that last as long as its data, and a search from 1.1.0 on.
  show(screen) {
    const notes = this.notes || [];
    const screens = {
      home: ['Welcome to Notes', `Version ${this.version}`, 'New note', 'Settings', ...(this.version === '1.0.0' ? [] : ['Search']),
        ...(notes.length ? notes : ['No notes yet'])],
      note: ['Title', 'Save'],
      settings: ['Dark theme'],
      search: ['Search your notes'],
    };
    this.screen = screens[screen];
  }

  async findElOrEls(strategy, selector, several) {
    await this.adb('get-state'); // a device that is gone answers nothing
    const text = (/"([^"]+)"/.exec(selector) || [null, selector])[1];
    const hits = this.screen.filter((line) => line.includes(text));
    if (!hits.length && !several) throw new errors.NoSuchElementError();
    const elements = hits.map((line) => {
      const id = String(++this.next);
      this.found.set(id, line);
      return { [element]: id };
    });
    return several ? elements : elements[0];
  }

  async click(id) {
    const line = this.found.get(id);
    if (line === 'New note') this.show('note');
    if (line === 'Settings') this.show('settings');
    if (line === 'Search') this.show('search');
    if (line === 'Save') {
      this.notes = [...(this.notes || []), this.title];
      this.show('home');
    }
  }

  async setValue(text) {
    this.title = Array.isArray(text) ? text.join('') : text;
  }

  async getText(id) {
    return this.found.get(id);
  }
  async elementDisplayed() {
    return true;
  }
  async elementEnabled() {
    return true;
  }
  async clear() {}
  async getScreenshot() {
    return picture;
  }
  async getWindowRect() {
    return { x: 0, y: 0, width: 1080, height: 2400 };
  }
  async getPageSource() {
    return '<hierarchy/>';
  }
  async execute() {
    return null;
  }
}

module.exports = { StubDriver, default: StubDriver };
