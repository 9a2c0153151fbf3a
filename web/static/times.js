// Times in the person's own zone; a page without this shows them in UTC.

export function showTime(element) {
  const time = new Date(element.dateTime);
  if (Number.isNaN(time.getTime())) return;
  element.title = element.dateTime;
  element.textContent =
    "short" in element.dataset
      ? time.toLocaleTimeString([], { hour12: false })
      : time.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}

for (const element of document.querySelectorAll("time")) showTime(element);
