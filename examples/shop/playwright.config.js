// Playwright settings for the Corner Shop tests. The address of the shop comes in BASE_URL;
// reporters, workers, retries and the output folder come from the command line.
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { defineConfig, devices } = require('@playwright/test');

if (!process.env.BASE_URL) {
  throw new Error('BASE_URL is not set: serve one version of the shop and set BASE_URL to its address (see README.md)');
}

/** The Chromium to start; undefined means the one that Playwright downloaded for itself. */
function chromium() {
  if (process.env.QGJOB_CHROMIUM) return process.env.QGJOB_CHROMIUM;
  return ['/usr/bin/chromium-headless-shell', '/usr/bin/chromium'].find((file) => fs.existsSync(file));
}

/** Playwright records video only with its own ffmpeg; asking for video without it fails every test. */
function canRecord() {
  const caches = {
    linux: path.join(process.env.XDG_CACHE_HOME || path.join(os.homedir(), '.cache'), 'ms-playwright'),
    darwin: path.join(os.homedir(), 'Library', 'Caches', 'ms-playwright'),
  };
  const browsers = process.env.PLAYWRIGHT_BROWSERS_PATH || caches[process.platform];
  const names = { linux: 'ffmpeg-linux', darwin: 'ffmpeg-mac' };
  return Boolean(browsers) && fs.existsSync(path.join(browsers, 'ffmpeg-1011', names[process.platform]));
}

const args = [
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  // Without these, Chromium calls home at every start: slow, and noisy on a closed network.
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
// Chromium refuses to run its sandbox as root, which is what containers give.
if (process.getuid?.() === 0) args.push('--no-sandbox');

module.exports = defineConfig({
  testDir: 'tests',
  timeout: 20_000,
  expect: { timeout: 5_000 },
  forbidOnly: Boolean(process.env.CI),
  use: {
    ...devices['Pixel 7'],
    baseURL: process.env.BASE_URL,
    locale: 'en-GB',
    timezoneId: 'UTC',
    contextOptions: { reducedMotion: 'reduce' },
    launchOptions: { executablePath: chromium(), args },
    screenshot: 'only-on-failure',
    trace: 'retain-on-failure',
    video: canRecord() ? 'retain-on-failure' : 'off',
  },
});
