import { test, expect } from 'appwright';

test('offers a dark theme', async ({ device }) => {
  await device.getByText('Settings').tap();
  await expect(device.getByText('Dark theme')).toBeVisible();
});
