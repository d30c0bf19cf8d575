-- The store's time in ms.
return text(time_ms())
