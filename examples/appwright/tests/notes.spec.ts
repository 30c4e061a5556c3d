import { test, expect } from 'appwright';

test('keeps a note', async ({ device }) => {
  await device.getByText('New note').tap();
  await device.getByText('Title').fill('Buy milk');
  await device.getByText('Save').tap();
  await expect(device.getByText('Buy milk')).toBeVisible();
});

// Passes after the one above because each test begins with cleared data (--reset=clear).
test('begins without notes', async ({ device }) => {
  await expect(device.getByText('No notes yet')).toBeVisible();
});
