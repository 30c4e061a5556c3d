#!/usr/bin/env node
// npx, pkill and osascript as an AppWright in stock mode finds them. The agent's own Appium listens where AppWright
// expects one; its drivers are installed; nobody kills it.
'use strict';

const path = require('node:path');
const { spawnSync } = require('node:child_process');

const name = path.basename(process.argv[1]);
const args = process.argv.slice(2);
const appium = args.indexOf('appium');

if (name === 'osascript') {
  console.log(process.env.QGJOB_APP_PACKAGE);
} else if (name === 'pkill' && args.some((a) => /appium/.test(a))) {
  process.exit(0);
} else if (name === 'npx' && appium >= 0 && args.slice(0, appium).every((a) => a.startsWith('-'))) {
  if (args[appium + 1] === undefined || args[appium + 1] === 'server') {
    console.log('Appium REST http interface listener started (the agent\'s own)');
    setInterval(() => {}, 1 << 30); // until AppWright ends it
  }
} else {
  // The next program of this name.
  const own = process.env.QGJOB_SHIMS;
  const rest = process.env.PATH.split(path.delimiter).filter((folder) => folder !== own);
  const ended = spawnSync(name, args, { stdio: 'inherit', env: { ...process.env, PATH: rest.join(path.delimiter) } });
  process.exit(ended.status === null ? 1 : ended.status);
}
