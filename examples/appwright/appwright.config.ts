import { defineConfig, Platform } from 'appwright';

export default defineConfig({
  use: { expectTimeout: 2_000 },
  projects: [
    {
      name: 'android',
      use: {
        platform: Platform.ANDROID,
        device: { provider: 'emulator', name: 'Pixel 8', osVersion: '14' },
        // qgjob names the build under test; alone, AppWright takes the one on disk.
        buildPath: process.env.QGJOB_APP_PATH ?? 'build/notes-1.1.0.apk',
      },
    },
  ],
});
