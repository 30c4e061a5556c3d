import { test, expect } from 'appwright';

// Search came with 1.1.0: on 1.0.0 this fails, and is meant to.
test('finds notes', async ({ device }) => {
  await device.getByText('Search').tap();
  await expect(device.getByText('Search your notes')).toBeVisible();
});
