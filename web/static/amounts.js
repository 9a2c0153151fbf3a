// Bytes and seconds as people say them.

export function showBytes(n) {
  const power = n > 0 ? Math.min(Math.floor(Math.log2(n) / 10), 4) : 0;
  return `${(n / 1024 ** power).toFixed(power ? 1 : 0)} ${["B", "KiB", "MiB", "GiB", "TiB"][power]}`;
}

export function showSeconds(seconds) {
  const whole = Math.max(1, Math.round(seconds));
  const parts = [
    [Math.floor(whole / 86400), "d"],
    [Math.floor(whole / 3600) % 24, "h"],
    [Math.floor(whole / 60) % 60, "min"],
    [whole % 60, "s"],
  ];
  return parts
    .filter(([n]) => n)
    .slice(0, 2)
    .map(([n, unit]) => `${n} ${unit}`)
    .join(" ");
}
