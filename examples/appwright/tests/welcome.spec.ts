import { test, expect } from 'appwright';

test('greets', async ({ device }) => {
  await expect(device.getByText('Welcome to Notes')).toBeVisible();
});

test('is the version under test', async ({ device }) => {
  await expect(device.getByText(`Version ${process.env.QGJOB_APP_VERSION_ID ?? ''}`)).toBeVisible();
});
