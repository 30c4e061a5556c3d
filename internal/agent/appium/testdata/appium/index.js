// Plays an Appium for the tests of its supervision. FAKE_APPIUM says how it misbehaves.
'use strict';
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { spawn } = require('node:child_process');

const [command, ...args] = process.argv.slice(2);
const misbehave = process.env.FAKE_APPIUM || '';
const option = (name) => args[args.indexOf(name) + 1];

if (command === 'driver') {
  fs.appendFileSync(path.join(process.env.APPIUM_HOME, '..', 'installs'), args.join(' ') + '\n');
  if (misbehave === 'no-driver') {
    console.log('- Installing\n\nnpm error network: the registry cannot be reached\n');
    process.exit(1);
  }
  process.exit(0);
}
if (misbehave === 'exit') {
  console.log('listen EADDRINUSE: the port is taken');
  process.exit(3);
}
let sessions = (process.env.FAKE_SESSIONS || '').split(',').filter(Boolean);
let ready = true;
const server = http.createServer((request, response) => {
  console.log('-->', request.method, request.url);
  const answer = (status, value) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ value }));
  };
  if (request.url === '/status') return misbehave === 'deaf' ? undefined : answer(200, { ready });
  if (request.url === '/sessions') return answer(200, sessions.map((id) => ({ id })));
  if (request.method === 'DELETE') {
    if (misbehave === 'clings') return answer(500, null);
    sessions = sessions.filter((id) => request.url !== '/session/' + id);
    return answer(200, null);
  }
  if (request.url === '/ill') ready = false;
  if (request.url === '/facts') return answer(200, { args, home: process.env.APPIUM_HOME, env: Object.keys(process.env).sort() });
  if (request.url === '/child') {
    // As adb does: a session of its own, so that a process group is not enough.
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], { detached: true, stdio: 'ignore' });
    return answer(200, child.pid);
  }
  if (request.url === '/crash') process.exit(7);
  answer(200, null);
});
server.listen(+option('--port'), option('--address'), () => console.log('Appium REST http interface listener started'));
